import type { Limit } from './limit.ts';

/** Of `planMigrations`, which only reads: what it reads, and what its report holds. */
export const planLimits = {
  sampledRecords: {
    value: 10_000,
    unit: 'records',
    source: 'of a model, tried without being written: some seconds, and a failure in a thousand shows',
    beyond: 'refused: `OPTION_INVALID`',
  },
  countedBytes: {
    value: 3_000_000,
    unit: 'bytes',
    source: 'below them FoundationDB’s estimate of a range says little, by its documentation: a few reads',
    beyond: 'estimated, by the mean size of some records and the size that the database estimates',
  },
  measuredRecords: {
    value: 200,
    unit: 'records',
    source: 'at each end of a key space, to know how large one is: a read each',
    beyond: 'taken to be as large as those',
  },
  sampledSlices: {
    value: 32,
    unit: 'ranges',
    source: 'of about equal bytes, among which a sample is drawn: two reads each',
    beyond: 'the slices are larger instead',
  },
  failureReasons: {
    value: 20,
    unit: 'entries',
    source: 'of a sample, by reason, most frequent first: a person reads on no longer',
    beyond: 'counted together',
  },
  shownRecords: {
    value: 5,
    unit: 'records',
    source: 'of a sample, with values before and after: enough to see whether it is what was meant',
    beyond: 'counted, not shown',
  },
  shownCharacters: {
    value: 200,
    unit: 'characters',
    source: 'of a text that is shown, bytes in hexadecimal digits: a line or two',
    beyond: 'cut',
  },
  shownElements: {
    value: 20,
    unit: 'entries',
    source: 'of a list, set, map or record that is shown',
    beyond: 'left out, with a mark',
  },
} as const satisfies Readonly<Record<string, Limit>>;
