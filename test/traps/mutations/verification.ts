import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

/** Verification, and what follows from it. */
export const verificationMutations: readonly Mutation[] = [
  {
    mutation: 'what the verification finds fails nothing',
    killer: by('integration/migration-verify.test.ts', 'verification finds that a record is gone'),
    replacements: [
      {
        file: 'src/migration/verify-step.ts',
        find: 'if (!report.passed) throw failureOf(model.name, report, isLive);',
        replace: 'void failureOf;',
      },
    ],
  },
  {
    mutation: 'the verification does not count',
    killer: by(
      'integration/migration-verify.test.ts',
      'verification finds that a record is gone with all of its index entries: only the count tells',
    ),
    replacements: [
      {
        file: 'src/migration/verify-step.ts',
        find: '(expected === null || expected === totals.recordsRead),',
        replace: '(expected === null || expected >= 0),',
      },
    ],
  },
  {
    mutation: 'the verification does not compare index entries',
    killer: by('integration/migration-verify.test.ts', 'verification finds an index entry too many'),
    replacements: [
      { file: 'src/migration/verify-step.ts', find: '      disagreeing.length === 0 &&\n', replace: '' },
    ],
  },
  {
    mutation: 'a verification that is looked at again begins where it failed',
    killer: by(
      'integration/migration-verify.test.ts',
      'verification looks again when an operator resumes, and passes once the cause is mended',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: "if (wasHalted && state.phase === 'Verify') clearRanges(tx, model.keys, 'verify');",
        replace: 'void clearRanges;',
      },
    ],
  },
  {
    mutation: 'Contract is started although the verification failed',
    killer: by('integration/migration-verify.test.ts', 'verification finds a record that does not validate'),
    replacements: [
      {
        file: 'src/migration/step.ts',
        find: '  if (described.retryable) {',
        replace:
          "  if (described.code === 'VERIFICATION_FAILED') return completePhase(migration, held);\n  if (described.retryable) {",
      },
    ],
  },
  {
    mutation: 'Contract is started although the Verify handler failed',
    killer: by(
      'integration/migration-verify.test.ts',
      'verification is not enough where the hook fails: Contract is not begun',
    ),
    replacements: [
      {
        file: 'src/migration/step.ts',
        find: 'return isSuccess(called) ? { ...called, ...verified } : called;',
        replace: 'return verified;',
      },
    ],
  },
  {
    mutation: 'an error that is worth a retry fails the migration',
    killer: by(
      'integration/migration-outcomes.test.ts',
      'an error that a handler throws is retried when it says that it is retryable, and recorded as a retry everywhere',
    ),
    replacements: [
      {
        file: 'src/migration/step.ts',
        find: '  if (described.retryable) {',
        replace: '  if (!described.retryable && described.atMs < 0) {',
      },
    ],
  },
];
