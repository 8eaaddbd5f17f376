import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

const waiting = 'integration/approval.test.ts';
const operators = 'integration/approval-operators.test.ts';
const row = 'src/migration/approval.ts';
const takenAway = by(
  waiting,
  'Contract does not begin where the approval is taken away while it is about to',
);

/** The approval between Verify and Contract. */
export const approvalMutations: readonly Mutation[] = [
  {
    mutation: 'Contract starts without having read the approval',
    killer: takenAway,
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: "phase === 'Contract' ? await requireApproval(tx, migration, state) : null;",
        replace: 'null;',
      },
    ],
  },
  {
    mutation: 'the approval is read without a conflict',
    killer: takenAway,
    replacements: [
      {
        file: row,
        find: 'await tx.get(keys.approval)',
        replace: 'await tx.get(keys.approval, { snapshot: true })',
      },
    ],
  },
  {
    mutation: 'an approval outlives the verification that it is of',
    killer: by(waiting, 'an approval is void once the records are verified anew'),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: '    tx.clear(model.keys.approval);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'the approval of another migration counts',
    killer: by(waiting, 'with approval by hand, a migration is not approved by what was said of another one'),
    replacements: [
      {
        file: row,
        find: 'return approval?.migrationId === migrationId ? approval : undefined;',
        replace: 'return migrationId === undefined ? undefined : approval;',
      },
    ],
  },
  {
    mutation: 'the publication leaves the approval behind',
    killer: by(
      waiting,
      'with approval by hand, a migration waits behind the closed gate once it is verified, and begins Contract when any node approves',
    ),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '  tx.clear(keys.approval);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a cancel leaves what was approved approved',
    killer: by(operators, 'a cancel takes back what was approved'),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: '  tx.clear(migration.model.keys.approval);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a reset leaves the approval behind',
    killer: by(operators, 'a migration that waits for an approval is reset, and the approval with it'),
    replacements: [
      { file: 'src/migration/operators.ts', find: '    tx.clear(keys.approval);\n', replace: '' },
    ],
  },
  {
    mutation: 'what has not passed Verify yet is approved',
    killer: by(
      operators,
      'an approval is refused where there is nothing to approve, with the phase and what to do',
    ),
    replacements: [
      {
        file: row,
        find: "return phase === 'Verify' ? phaseCompleted :",
        replace: "return phase === 'Verify' ? true :",
      },
    ],
  },
  {
    mutation: 'who approves does not know that after 1021 it was done and used',
    killer: by(
      'integration/unknown-results.test.ts',
      'an operator’s call that is applied, with an unknown result, approves once, also where Contract is over before the answer is known',
    ),
    replacements: [
      {
        file: 'src/migration/approve.ts',
        find: '    if (isUsed && tx.afterUnknownResult)',
        replace: '    if (isUsed && !tx.afterUnknownResult)',
      },
    ],
  },
  {
    mutation: 'the next owner forgets what the one before asked for, and lets nobody see it',
    killer: by(
      waiting,
      'with approval by hand, a migration waits also in the middle of Contract, where an owner of another option had begun that',
    ),
    replacements: [
      {
        file: 'src/migration/acquire.ts',
        find: 'approvalSinceMs: approvalSinceOf(migration, state),',
        replace: 'approvalSinceMs: state.approvalSinceMs,',
      },
    ],
  },
];
