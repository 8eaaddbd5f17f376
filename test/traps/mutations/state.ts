import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

/** What is persisted at the ends of steps. */
export const stateMutations: readonly Mutation[] = [
  {
    mutation: 'a transition does not know itself again after 1021',
    killer: by(
      'integration/unknown-results.test.ts',
      'a step whose end is applied, with an unknown result, keeps its lease',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: 'if (isSame && state.revision === expected + 1 && written !== undefined && tx.afterUnknownResult) return;\n',
        replace: 'if (isSame && state.revision < 0) return;\n',
      },
    ],
  },
  {
    mutation: 'a transition does not compare the revision',
    killer: by(
      'integration/unknown-results.test.ts',
      'a migration of which every first commit is applied, with an unknown result goes as any other, by transform',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: 'if (isSame && state.revision === expected + 1 && written !== undefined && tx.afterUnknownResult) return;\n',
        replace: 'if (isSame && state.revision < 0) return;\n',
      },
      {
        file: 'src/migration/transition.ts',
        find: 'if (!isSame || state.revision !== expected) throw',
        replace: 'if (!isSame) throw',
      },
    ],
  },
  {
    mutation: 'a cancel ends as a failure',
    killer: by(
      'integration/operators-intent.test.ts',
      'before it has begun a cancel leaves the model to the old program',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: "state: { ...obeyed, status: 'Canceled' },",
        replace: "state: { ...obeyed, status: 'Failed' },",
      },
    ],
  },
  {
    mutation: 'what was touched is opened again under the stored definition',
    killer: by(
      'integration/operators-intent.test.ts',
      'a way back while nothing was written not once a record was written, and the error then names the ways out',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: 'if (touched !== undefined || state.expandRan ||',
        replace: 'void touched;\n  if (state.expandRan ||',
      },
    ],
  },
  {
    mutation: 'a model whose Expand handler ran is opened again under the stored definition',
    killer: by(
      'integration/operators-intent.test.ts',
      'a way back while nothing was written not once an Expand handler was called',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: 'if (touched !== undefined || state.expandRan ||',
        replace: 'if (touched !== undefined ||',
      },
    ],
  },
  {
    mutation: 'a model that nothing was written of stays closed after a cancel',
    killer: by(
      'integration/operators-intent.test.ts',
      'a way back while nothing was written a cancel opens the model under its stored definition, and a later resume migrates it all the same',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: '  await reopenIfUntouched(tx, migration, state);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'attempts are not persisted',
    killer: by(
      'integration/migration-retry.test.ts',
      'maxAttempts grants exactly 2 starts in a row without progress',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: "      status: 'Running',\n      attempt,\n",
        replace: "      status: 'Running',\n",
      },
    ],
  },
  {
    mutation: 'a start without progress begins again at one',
    killer: by(
      'integration/migration-retry.test.ts',
      'maxAttempts grants exactly 2 starts in a row without progress',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'const madeProgress = progress > base.progressSeen;',
        replace: 'const madeProgress = progress >= base.progressSeen;',
      },
    ],
  },
  {
    mutation: 'a retry that moved on counts like one that did not',
    killer: by('integration/migration-retry.test.ts', 'maxRetryOutcomes counts anew after an advance'),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'progress > state.progressSeen ? 1 : state.retryCount + 1;',
        replace: 'progress < 0 ? 1 : state.retryCount + 1;',
      },
    ],
  },
  {
    mutation: 'the delay of a retry is not persisted',
    killer: by(
      'integration/migration-retry.test.ts',
      'a retry that is waited for is waited out by the next process, for what is left of the delay',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'retryAtMs: runtime.clock.wallMs() + delayMs,',
        replace: 'retryAtMs: null,',
      },
    ],
  },
  {
    mutation: 'a start that an operator ended counts as a failed attempt',
    killer: by(
      'integration/operators-intent.test.ts',
      'a handler hears of a pause by its signal, and what it then throws is no failure',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: 'const attempt = Math.max(0, state.attempt - 1);',
        replace: 'const { attempt } = state;',
      },
    ],
  },
  {
    mutation: 'a start that closing ended counts as a failed attempt',
    killer: by(
      'integration/migration-retry.test.ts',
      'maxAttempts takes a start back that was ended by closing the store',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'return { ...state, attempt: Math.max(0, state.attempt - 1) };',
        replace: 'return { ...state };',
      },
    ],
  },
  {
    mutation: 'the call of an Expand handler is not persisted',
    killer: by(
      'integration/operators-intent.test.ts',
      'a way back while nothing was written not once an Expand handler was called',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'expandRan: base.expandRan || work.runsExpandHandler,',
        replace: 'expandRan: base.expandRan,',
      },
    ],
  },
  {
    mutation: 'a phase begins with the cursor of the one before',
    killer: by(
      'integration/migration-outcomes.test.ts',
      'an outcome belongs to its phase: the next one begins without a cursor',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: '    retryCount: 0,\n    cursor: null,\n',
        replace: '    retryCount: 0,\n',
      },
    ],
  },
  {
    mutation: 'an outcome without a cursor takes the old one away',
    killer: by(
      'integration/migration-outcomes.test.ts',
      'an outcome without a cursor keeps the one that was there',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'if (nextCursor === undefined || nextCursor === state.cursor) return state;',
        replace:
          'if (nextCursor === undefined) return { ...state, cursor: null };\n  if (nextCursor === state.cursor) return state;',
      },
    ],
  },
];
