import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

/** Operators, handlers and requests. */
export const operatorMutations: readonly Mutation[] = [
  {
    mutation: 'a resume begins anew',
    killer: by(
      'integration/operators-intent.test.ts',
      'across restarts a failure is not tried again by open; resume goes on with a mended transform, behind what was moved',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: "if (wasHalted && state.phase === 'Verify') clearRanges(tx, model.keys, 'verify');",
        replace: 'if (wasHalted) clearRanges(tx, model.keys);',
      },
    ],
  },
  {
    mutation: 'a resume keeps the counts of attempts and retries',
    killer: by(
      'integration/migration-retry.test.ts',
      'maxRetryOutcomes counts from zero once an operator resumes',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '        attempt: 0,\n        retryCount: 0,\n        retryAtMs: null,\n        message',
        replace: '        retryAtMs: null,\n        message',
      },
    ],
  },
  {
    mutation: 'an operator’s call does not know itself again after 1021',
    killer: by(
      'integration/unknown-results.test.ts',
      'an operator’s call that is applied, with an unknown result, is obeyed and counted once',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '    if (before?.id === id) return answered({ accepted: true }, reader, before);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a reset does not know itself again after 1021',
    killer: by(
      'integration/unknown-results.test.ts',
      'an operator’s call that is applied, with an unknown result, resets once',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: 'if (seenEpoch !== undefined && tx.afterUnknownResult && isApplied)',
        replace: 'if (seenEpoch !== undefined && !tx.afterUnknownResult && isApplied)',
      },
    ],
  },
  {
    mutation: 'a reset that is repeated resets what began behind it',
    killer: by(
      'integration/unknown-results.test.ts',
      'a reset whose answer comes late resets nothing that began behind it',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: 'const isApplied = isReset || fence?.schemaEpoch !== seenEpoch;',
        replace: 'const isApplied = isReset;',
      },
    ],
  },
  {
    mutation: 'a reset leaves the owner in place',
    killer: by(
      'integration/reset.test.ts',
      'of a migration that has written records a process in the middle of it loses its chunk, and begins anew by itself',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '    if (owner !== undefined) tx.set(keys.owner, ownerFormat.encode(vacated(owner, owner.epoch + 1)));\n',
        replace: '    void [owner, ownerFormat, vacated];\n',
      },
    ],
  },
  {
    mutation: 'a reset forgets the key space it had begun',
    killer: by(
      'integration/reset.test.ts',
      'half-way through a change of the key another target takes the records of both key spaces',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '    mixedKeySpaces: isOtherKeySpace\n',
        replace: '    mixedKeySpaces: isOtherKeySpace && targetKeySpace < 0\n',
      },
    ],
  },
  {
    mutation: 'a cancel after a reset opens the model on mixed records',
    killer: by(
      'integration/reset.test.ts',
      'of a migration that has written no record, but called an Expand handler keeps the gate closed, also when the next migration is canceled before its first record',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '  tx.set(keys.touched, Buffer.from(state.migrationId));\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'an operator who finds an owner writes the answer for it',
    killer: by(
      'integration/operators-intent.test.ts',
      'in Expand a pause from another store is answered with the wish, obeyed at the boundary, and undone by resume',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '  if (hasOwner) return [];\n',
        replace: '  void hasOwner;\n',
      },
    ],
  },
  {
    mutation: 'a cancel waits for an owner whose migration stands still',
    killer: by(
      'integration/operators-halted.test.ts',
      'a cancel stands at once where a paused migration has not released its lease yet, and may never do so',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: "owner.token !== '' && !isHalted(state),",
        replace: "owner.token !== '',",
      },
    ],
  },
  {
    mutation: 'a handler’s transaction does not know itself again after 1021',
    killer: by(
      'integration/unknown-results.test.ts',
      'a migration of which every first commit is applied, with an unknown result goes as any other, by hand-written handler',
    ),
    replacements: [
      {
        file: 'src/migration/context.ts',
        find: 'const isApplied = tx.afterUnknownResult && advanced',
        replace: 'const isApplied = !tx.afterUnknownResult && advanced',
      },
    ],
  },
  {
    mutation: 'a handler’s transaction does not check the ownership',
    killer: by(
      'integration/migration-context.test.ts',
      'context.transact is refused under a lease that was taken away, whether or not it advances',
    ),
    replacements: [
      {
        file: 'src/migration/context.ts',
        find: 'await Promise.all([readState(tx, model.keys), held.lease.guard(tx)]);',
        replace: 'await Promise.all([readState(tx, model.keys)]);',
      },
    ],
  },
  {
    mutation: 'a handler’s transaction does not mark the migration as touched',
    killer: by(
      'integration/migration-context.test.ts',
      'context.transact marks the migration: what it wrote is not opened again under the stored definition',
    ),
    replacements: [
      {
        file: 'src/migration/context.ts',
        find: '          tx.set(model.keys.touched, Buffer.from(state.migrationId));\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a request does not know itself again after 1021',
    killer: by(
      'integration/requests-gate.test.ts',
      'a transaction whose result is unknown is recognised by what it wrote (applied: true)',
    ),
    replacements: [
      {
        file: 'src/records/record-access.ts',
        find: 'if (!tx.afterUnknownResult ||',
        replace: 'if (tx.afterUnknownResult ||',
      },
    ],
  },
];
