/** The natural limits of the types, and what a limit means; one place for checking, comparing and validating. */

export const int32Limits = { min: -(2 ** 31), max: 2 ** 31 - 1 } as const;

export const int64Limits = { min: -(2n ** 63n), max: 2n ** 63n - 1n } as const;

/** Milliseconds since 1970 that a `Date` can hold. Source: ECMAScript, "Time Values and Time Range". */
export const timestampLimits = { min: -8.64e15, max: 8.64e15 } as const;

/** Days since 1970-01-01 of the years 0000 to 9999. */
export const dateLimits = { min: '0000-01-01', max: '9999-12-31' } as const;

/** The expression that a whole string has to match. */
export function wholeStringRegex(source: string): RegExp {
  return new RegExp(`^(?:${source})$`, 'u');
}
