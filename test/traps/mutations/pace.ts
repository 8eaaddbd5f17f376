import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

const limit = 'unit/migration/throttle.test.ts';
const throttled = 'integration/migration-throttle.test.ts';

/** What slows a migration down, and what is said when it stands still. */
export const paceMutations: readonly Mutation[] = [
  {
    mutation: 'a limit is not shared with other processes',
    killer: by(limit, 'a limit in records per second is shared by three, and none of it is lost for good'),
    replacements: [
      {
        file: 'src/migration/throttle.ts',
        find: 'movers: othersTtlMs.length + 1,',
        replace: 'movers: 1,',
      },
    ],
  },
  {
    mutation: 'a process that comes moves before the others have counted it',
    killer: by(
      limit,
      'a limit in records per second is not passed by one that comes: it waits until the others must have counted it',
    ),
    replacements: [
      {
        file: 'src/migration/throttle.ts',
        find: 'Math.max(0, ...othersTtlMs) / 2',
        replace: '0 * Math.max(0, ...othersTtlMs)',
      },
    ],
  },
  {
    mutation: 'a share is kept although those who move were not counted for long',
    killer: by(
      limit,
      'a limit in records per second lets nothing through while those who move cannot be counted',
    ),
    replacements: [
      {
        file: 'src/migration/throttle.ts',
        find: 'untilMs: beganAtMs + ttlMs / 2,',
        replace: 'untilMs: Number.POSITIVE_INFINITY,',
      },
      {
        file: 'src/migration/throttle.ts',
        find: '      await recount(signal);\n',
        replace: '      if (count === undefined) await recount(signal);\n',
      },
    ],
  },
  {
    mutation: 'throttled counts as stalled',
    killer: by(throttled, 'a migration that a limit holds up is never stalled, however long a chunk waits'),
    replacements: [
      {
        file: 'src/migration/read-status.ts',
        find: 'throttled ?? stalled ?? found.localMismatch',
        replace: 'stalled ?? throttled ?? found.localMismatch',
      },
    ],
  },
  {
    mutation: 'a pause does not end the wait of a throttled chunk',
    killer: by(throttled, 'a migration that a limit holds up obeys a pause while the host holds a chunk'),
    replacements: [
      {
        file: 'src/migration/passes/pacing.ts',
        find: "        told.addEventListener('abort', end, { once: true });\n        if (told.aborted) end();\n",
        replace: '',
      },
    ],
  },
  {
    mutation: 'a throttle of the host that throws fails the migration',
    killer: by(
      'unit/migration/host-throttle.test.ts',
      'migrationThrottle is ignored, counted and logged once where it answers an error that is thrown',
    ),
    replacements: [
      {
        file: 'src/migration/host-throttle.ts',
        find: "if (answer.type === 'threw') return ignore('threw', answer.error);",
        replace: "if (answer.type === 'threw') throw answer.error;",
      },
    ],
  },
  {
    mutation: 'a handler that writes gives no sign of life',
    killer: by(throttled, 'a migration that commits nothing is not stalled by a handler that writes'),
    replacements: [
      {
        file: 'src/migration/context.ts',
        find: '          count(tx, model.keys, runtime.clock.wallMs(), {});\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a process that left and came again moves as if it had stayed',
    killer: by(
      limit,
      'a limit in records per second is not passed by one that leaves and comes at once, for another model',
    ),
    replacements: [
      {
        file: 'src/migration/throttle.ts',
        find: 'if (count !== undefined && count.arrival !== sessions.arrival()) {',
        replace: 'if (count !== undefined && count.arrival < 0) {',
      },
      {
        file: 'src/migration/throttle.ts',
        find: 'count?.arrival === arrival && ',
        replace: 'count !== undefined && ',
      },
    ],
  },
  {
    mutation: 'nobody is told that a migration stalls',
    killer: by(
      throttled,
      'a migration that commits nothing is stalled a minute later, for everybody, told once, and not when it goes on',
    ),
    replacements: [
      {
        file: 'src/store/watchdog.ts',
        find: "if ((reason?.code === 'stalled') !== seen.isStalled) hub.changed(model);",
        replace: "if (reason?.code === '' && seen.isStalled) hub.changed(model);",
      },
    ],
  },
];
