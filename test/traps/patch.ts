/** One change of one file: `find` occurs there exactly once. */
export interface Replacement {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export interface Test {
  readonly testFile: string;
  /** Its whole name. */
  readonly test: string;
}

/** What must go red when the code is broken: a test, or one of the simulated histories of seeds 1 to `seeds`. */
export type Killer = Test | { readonly seeds: number };

export const isTest = (killer: Killer): killer is Test => 'test' in killer;

export const by = (testFile: string, test: string): Killer => ({ testFile: `test/${testFile}`, test });
export const simulated = (seeds: number): Killer => ({ seeds });

/** A known way to break the code, and what must notice. */
export interface Mutation {
  /** What the code does then. */
  readonly mutation: string;
  readonly killer: Killer;
  readonly replacements: readonly Replacement[];
}
