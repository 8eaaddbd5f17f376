/** The part of `npm run lint` that looks at the direction of imports. */
import { importGraph, repositoryTop, violations } from './architecture.ts';

const found = violations(importGraph(repositoryTop));
for (const sentence of found) console.error(sentence);
if (found.length > 0) process.exitCode = 1;
