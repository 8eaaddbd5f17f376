import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

const nodeTest = 'unit/machines/node.test.ts';

/** What becomes of actors that crash. */
export const nodeMutations: readonly Mutation[] = [
  {
    mutation: 'a migration that crashes takes the others with it',
    killer: by(
      nodeTest,
      'a migration that crashes is started again after a delay, and the others go on meanwhile',
    ),
    replacements: [
      {
        file: 'machines/node.ts',
        find: "    'xstate.error.actor.migration.*': { actions: 'takeCrash' },\n",
        replace: '',
      },
    ],
  },
  {
    mutation: 'a migration that crashes again is started again as soon as the first time',
    killer: by(
      nodeTest,
      'a migration that crashes waits longer each time it crashes in a row, up to half a minute, and never ends trying',
    ),
    replacements: [
      {
        file: 'src/migration/retry.ts',
        find: 'ceilingMs(crashes)',
        replace: 'ceilingMs(Math.min(1, crashes))',
      },
    ],
  },
  {
    mutation: 'a stop waits for a migration that waits to be started again',
    killer: by(
      nodeTest,
      'a migration that crashes is ended at once by a stop while its restart is waited for',
    ),
    replacements: [
      {
        file: 'machines/node.ts',
        find: '      enqueue.assign({ ended: [...context.ended, ...restarting.map(({ modelId }) => modelId)] });\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a migration is started again beside what it was doing when it crashed',
    killer: by(
      'integration/migration-crash.test.ts',
      'what a crashed machine was doing is told to stop, and has ended before the next one begins',
    ),
    replacements: [
      {
        file: 'src/migration/incarnations.ts',
        find: '        await cleared;\n',
        replace: '        void cleared;\n',
      },
    ],
  },
  {
    mutation: 'a lease that nothing beats for any more counts as held',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner has lost its lease when what beats for it crashes, and can still give it back',
    ),
    replacements: [
      {
        file: 'src/migration/lease-beats.ts',
        find: '    error: (cause) => onLost(cause),\n',
        replace: '    error: () => undefined,\n',
      },
    ],
  },
];
