import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

const remaining = 'unit/migration/remaining-time.test.ts';

/** What is said about the time that is left. */
export const remainingMutations: readonly Mutation[] = [
  {
    mutation: 'the time that is left goes by the number of records alone',
    killer: by(
      remaining,
      'the time that is left of a pass is right wherever a record takes time by itself, by its bytes, or by both',
    ),
    replacements: [
      {
        file: 'src/migration/remaining-time.ts',
        find: 'Math.min(1, Math.max(0, covariance / contrast))',
        replace: 'Math.min(0, covariance / contrast)',
      },
    ],
  },
  {
    mutation: 'the time that is left forgets the limit of the rate',
    killer: by(remaining, 'the time that is left of a pass is no shorter than a limit demands'),
    replacements: [
      {
        file: 'src/migration/remaining-time.ts',
        find: 'records * pace.leastPerRecord',
        replace: '0 * pace.leastPerRecord',
      },
    ],
  },
  {
    mutation: 'the start of its threads counts as the pace of a process',
    killer: by(
      'unit/migration/rate-meter.test.ts',
      'the time of a range is unknown for what was under way when the process committed for the first time',
    ),
    replacements: [
      {
        file: 'src/migration/passes/rate-meter.ts',
        find: 'hasCommitted ? beganMs : undefined',
        replace: 'hasCommitted ? undefined : beganMs',
      },
    ],
  },
];
