import { assign, enqueueActions, setup } from 'xstate';
import type { MigrationNotice } from './migration.ts';
import { migrationMachine } from './migration.ts';

/**
 * One process: keeps the migrations in dependency order and within `maxParallel`, and spends the startup budget.
 * One actor per model that needs something done; each says by a notice where it stands.
 */
export interface NodeInput {
  /** In dependency order. `dependsOn` names only models that are in the list themselves. */
  readonly models: readonly { readonly modelId: number; readonly dependsOn: readonly number[] }[];
  readonly maxParallel: number;
  readonly continueInBackground: boolean;
}

type Standing = MigrationNotice['is'];

interface NodeContext extends NodeInput {
  readonly standing: Readonly<Record<number, Standing>>;
  /** Sent `go`, and not heard of since. */
  readonly started: readonly number[];
  /** Ids of migration actors that have reached a final state, and send nothing more. */
  readonly ended: readonly string[];
}

export type NodeEvent = MigrationNotice | { readonly type: 'stop' };

const isOver = (standing: Standing | undefined) => standing === 'done' || standing === 'stopped';
const isHalted = (standing: Standing | undefined) =>
  standing === 'paused' || standing === 'canceled' || standing === 'failed';

/** Nothing more happens to this model unless an operator acts: it is done, halted, or waits for one that is halted. */
export function isSettled(context: NodeContext, modelId: number): boolean {
  const standing = context.standing[modelId];
  if (isOver(standing) || isHalted(standing)) return true;
  const model = context.models.find((candidate) => candidate.modelId === modelId);
  return (model?.dependsOn ?? []).some(
    (dependency) => context.standing[dependency] !== 'done' && isSettled(context, dependency),
  );
}

function modelsToStart(context: NodeContext): number[] {
  const busy = context.models.filter(
    ({ modelId }) => context.standing[modelId] === 'running' || context.started.includes(modelId),
  );
  return context.models
    .filter(
      ({ modelId, dependsOn }) =>
        context.standing[modelId] === 'waiting' &&
        !context.started.includes(modelId) &&
        dependsOn.every((dependency) => context.standing[dependency] === 'done'),
    )
    .slice(0, Math.max(0, context.maxParallel - busy.length))
    .map(({ modelId }) => modelId);
}

const endOfActor = 'xstate.done.actor.';
const actorId = (modelId: number) => `migration-${modelId}`;

export const nodeMachine = setup({
  types: {
    context: {} as NodeContext,
    events: {} as NodeEvent,
    input: {} as NodeInput,
  },
  actors: { migration: migrationMachine },
  delays: { startupBudget: Number.POSITIVE_INFINITY },
  actions: {
    spawnMigrations: enqueueActions(({ context, enqueue }) => {
      for (const { modelId } of context.models) {
        enqueue.spawnChild('migration', { id: actorId(modelId), input: { modelId } });
      }
    }),
    takeNotice: assign(({ context, event }) =>
      event.type === 'migration.notice'
        ? {
            standing: { ...context.standing, [event.modelId]: event.is },
            started: context.started.filter((modelId) => modelId !== event.modelId),
          }
        : {},
    ),
    takeEnd: assign(({ context, event }) => ({
      ended: [...context.ended, event.type.slice(endOfActor.length)],
    })),
    startNext: enqueueActions(({ context, enqueue }) => {
      const next = modelsToStart(context);
      if (next.length === 0) return;
      enqueue.assign({ started: [...context.started, ...next] });
      for (const modelId of next) enqueue.sendTo(actorId(modelId), { type: 'go' });
    }),
    stopMigrations: enqueueActions(({ context, enqueue }) => {
      for (const { modelId } of context.models) {
        if (!isOver(context.standing[modelId])) enqueue.sendTo(actorId(modelId), { type: 'stop' });
      }
    }),
  },
  guards: {
    allSettled: ({ context }) => context.models.every(({ modelId }) => isSettled(context, modelId)),
    // Not by the notices: what an actor sends last would find nobody, and XState says so on stderr.
    allEnded: ({ context }) =>
      context.models.every(({ modelId }) => context.ended.includes(actorId(modelId))),
    continueInBackground: ({ context }) => context.continueInBackground,
  },
}).createMachine({
  id: 'node',
  context: ({ input }) => ({ ...input, standing: {}, started: [], ended: [] }),
  initial: 'starting',
  entry: 'spawnMigrations',
  on: {
    stop: '.stopping',
    [`${endOfActor}*`]: { actions: 'takeEnd' },
  },
  states: {
    // `open` waits here.
    starting: {
      on: { 'migration.notice': { actions: ['takeNotice', 'startNext'] } },
      always: { guard: 'allSettled', target: 'attending' },
      after: {
        startupBudget: [{ guard: 'continueInBackground', target: 'attending' }, { target: 'overBudget' }],
      },
    },
    // `open` has returned; whatever is left goes on, and what an operator resumes goes on again.
    attending: {
      on: { 'migration.notice': { actions: ['takeNotice', 'startNext'] } },
    },
    // `open` fails; nothing is lost.
    overBudget: {
      entry: 'stopMigrations',
      on: { 'migration.notice': { actions: 'takeNotice' } },
      always: { guard: 'allEnded', target: 'spent' },
    },
    stopping: {
      entry: 'stopMigrations',
      on: { 'migration.notice': { actions: 'takeNotice' } },
      always: { guard: 'allEnded', target: 'stopped' },
    },
    spent: { type: 'final' },
    stopped: { type: 'final' },
  },
});
