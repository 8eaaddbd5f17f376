/** As in package.json, which is not read at run time: a bundle has none. */
export const release = '0.1.0';
