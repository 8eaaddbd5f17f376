import { assign, enqueueActions, fromPromise, setup } from 'xstate';
import type { MigrationNotice } from './migration.ts';
import { migrationMachine } from './migration.ts';

/**
 * One process: keeps the migrations in dependency order and within `maxParallel`, and spends the startup budget.
 * One actor per model that needs something done; each says by a notice where it stands.
 *
 * An actor that crashes is replaced: what it was doing is ended first (`retire`), then the delay `restart` is waited
 * for, which grows with each crash in a row, and then another one begins where the database says. The others go on
 * meanwhile, what depends on it waits, and it has its place among `maxParallel` for no longer than its work lasts.
 */
export interface NodeInput {
  /** In dependency order. `dependsOn` names only models that are in the list themselves. */
  readonly models: readonly { readonly modelId: number; readonly dependsOn: readonly number[] }[];
  readonly maxParallel: number;
  readonly continueInBackground: boolean;
}

/**
 * Where a model stands in this process: what its actor said last, or that it has none. `crashed`: what it did is being
 * ended. `restarting`: the delay before the next one is waited for.
 */
export type NodeStanding = MigrationNotice['is'] | 'crashed' | 'restarting';

interface NodeContext extends NodeInput {
  readonly standing: Readonly<Record<number, NodeStanding>>;
  /** Sent `go`, and not heard of since. */
  readonly started: readonly number[];
  /** Models of which nothing more comes: their actors have reached a final state, or are not restarted. */
  readonly ended: readonly number[];
  /** Crashes in a row, by model. One that was `steady` since the last, or is done, begins at none again. */
  readonly crashes: Readonly<Record<number, number>>;
}

/** What is to be ended, and why. */
export interface Crash {
  readonly modelId: number;
  /** In a row, this one included. */
  readonly crashes: number;
  readonly error: unknown;
}

/** What crashed has ended. */
export interface Retired {
  /** Milliseconds until another actor takes its place. */
  readonly restartInMs: number;
}

export type NodeEvent =
  | MigrationNotice
  | { readonly type: 'stop' }
  | { readonly type: 'restart'; readonly modelId: number }
  /** It has run for long enough since its restart: the next crash is the first one again. */
  | { readonly type: 'steady'; readonly modelId: number };

const isOver = (standing: NodeStanding | undefined) => standing === 'done' || standing === 'stopped';
const isHalted = (standing: NodeStanding | undefined) =>
  standing === 'paused' || standing === 'canceled' || standing === 'failed';
const hasNoActor = (standing: NodeStanding | undefined) =>
  standing === 'crashed' || standing === 'restarting';

/** Nothing more happens to this model unless an operator acts: it is done, halted, or waits for one that is halted. */
export function isSettled(context: NodeContext, modelId: number): boolean {
  const standing = context.standing[modelId];
  if (isOver(standing) || isHalted(standing)) return true;
  if (hasNoActor(standing)) return false;
  const model = context.models.find((candidate) => candidate.modelId === modelId);
  return (model?.dependsOn ?? []).some(
    (dependency) => context.standing[dependency] !== 'done' && isSettled(context, dependency),
  );
}

function modelsToStart(context: NodeContext): number[] {
  const { started } = context;
  const busy = context.models.filter(
    ({ modelId }) =>
      context.standing[modelId] === 'running' ||
      context.standing[modelId] === 'crashed' ||
      started.includes(modelId),
  );
  return context.models
    .filter(
      ({ modelId, dependsOn }) =>
        context.standing[modelId] === 'waiting' &&
        !started.includes(modelId) &&
        dependsOn.every((dependency) => context.standing[dependency] === 'done'),
    )
    .slice(0, Math.max(0, context.maxParallel - busy.length))
    .map(({ modelId }) => modelId);
}

const actorId = (modelId: number) => `migration.${modelId}`;
const retirementId = (modelId: number) => `retirement.${modelId}`;
const restartId = (modelId: number) => `restart.${modelId}`;
const steadyId = (modelId: number) => `steady.${modelId}`;

/** Of the model whose actor an event of XState tells about: all ids end with it. */
const modelIdOf = ({ type }: { readonly type: string }) => Number(type.slice(type.lastIndexOf('.') + 1));

/** As long as the longest delay of a restart, where the host says nothing else. Milliseconds. */
const defaultRestartMs = 30_000;
/** Twice the longest delay of a restart: what crashes again within it has not come through. Milliseconds. */
const defaultSteadyMs = 60_000;

const machine = setup({
  types: {
    context: {} as NodeContext,
    events: {} as NodeEvent,
    input: {} as NodeInput,
  },
  actors: {
    migration: migrationMachine,
    /** Ends what an actor that crashed was doing, so that the next one is alone. It does not throw itself. */
    retire: fromPromise<Retired, Crash>(() =>
      Promise.reject(new Error('the host supplies the effects of this machine')),
    ),
  },
  delays: {
    startupBudget: Number.POSITIVE_INFINITY,
    restart: ({ event }) => ('output' in event ? (event.output as Retired).restartInMs : defaultRestartMs),
    steady: defaultSteadyMs,
  },
  actions: {
    spawnMigrations: enqueueActions(({ context, enqueue }) => {
      for (const { modelId } of context.models) {
        enqueue.spawnChild('migration', { id: actorId(modelId), input: { modelId } });
      }
    }),
    takeNotice: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'migration.notice') return;
      const { modelId, is } = event;
      enqueue.assign({
        standing: { ...context.standing, [modelId]: is },
        started: context.started.filter((other) => other !== modelId),
      });
      if (is !== 'done') return;
      enqueue.assign({ crashes: { ...context.crashes, [modelId]: 0 } });
      enqueue.cancel(steadyId(modelId));
    }),
    takeEnd: assign(({ context, event }) => ({ ended: [...context.ended, modelIdOf(event)] })),
    takeCrash: enqueueActions(({ context, event, enqueue }) => {
      const modelId = modelIdOf(event);
      const crashes = (context.crashes[modelId] ?? 0) + 1;
      enqueue.assign({
        standing: { ...context.standing, [modelId]: 'crashed' },
        started: context.started.filter((other) => other !== modelId),
        crashes: { ...context.crashes, [modelId]: crashes },
      });
      enqueue.cancel(steadyId(modelId));
      const error: unknown = 'error' in event ? event.error : undefined;
      enqueue.spawnChild('retire', { id: retirementId(modelId), input: { modelId, crashes, error } });
    }),
    awaitRestart: enqueueActions(({ context, event, enqueue }) => {
      const modelId = modelIdOf(event);
      enqueue.assign({ standing: { ...context.standing, [modelId]: 'restarting' } });
      enqueue.raise({ type: 'restart', modelId }, { id: restartId(modelId), delay: 'restart' });
    }),
    restart: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'restart') return;
      const { modelId } = event;
      // Until it says itself where it stands: what is sent to it before would come twice.
      const others = Object.entries(context.standing).filter(([id]) => Number(id) !== modelId);
      enqueue.assign({ standing: Object.fromEntries(others) });
      enqueue.spawnChild('migration', { id: actorId(modelId), input: { modelId } });
      enqueue.raise({ type: 'steady', modelId }, { id: steadyId(modelId), delay: 'steady' });
    }),
    /** For whoever counts. It does not throw. */
    tellRestart: () => undefined,
    forgetCrashes: assign(({ context, event }) =>
      event.type === 'steady' ? { crashes: { ...context.crashes, [event.modelId]: 0 } } : {},
    ),
    startNext: enqueueActions(({ context, enqueue }) => {
      const next = modelsToStart(context);
      if (next.length === 0) return;
      enqueue.assign({ started: [...context.started, ...next] });
      for (const modelId of next) enqueue.sendTo(actorId(modelId), { type: 'go' });
    }),
    stopMigrations: enqueueActions(({ context, enqueue }) => {
      const restarting = context.models.filter(({ modelId }) => context.standing[modelId] === 'restarting');
      for (const { modelId } of restarting) enqueue.cancel(restartId(modelId));
      enqueue.assign({ ended: [...context.ended, ...restarting.map(({ modelId }) => modelId)] });
      for (const { modelId } of context.models) {
        const standing = context.standing[modelId];
        if (!isOver(standing) && !hasNoActor(standing)) {
          enqueue.sendTo(actorId(modelId), { type: 'stop' });
        }
      }
    }),
  },
  guards: {
    allSettled: ({ context }) => context.models.every(({ modelId }) => isSettled(context, modelId)),
    // Not by the notices: what an actor sends last would find nobody, and XState says so on stderr.
    allEnded: ({ context }) => context.models.every(({ modelId }) => context.ended.includes(modelId)),
    continueInBackground: ({ context }) => context.continueInBackground,
  },
});

/** While migrations are worked on. */
const working = {
  'migration.notice': { actions: ['takeNotice', 'startNext'] },
  'xstate.done.actor.retirement.*': { actions: ['awaitRestart', 'startNext'] },
  'xstate.error.actor.retirement.*': { actions: ['awaitRestart', 'startNext'] },
  restart: { actions: ['tellRestart', 'restart'] },
  steady: { actions: 'forgetCrashes' },
} as const;

/** While they end: what has crashed by then is not restarted. */
const ending = {
  'migration.notice': { actions: 'takeNotice' },
  'xstate.done.actor.retirement.*': { actions: 'takeEnd' },
  'xstate.error.actor.retirement.*': { actions: 'takeEnd' },
} as const;

export const nodeMachine = machine.createMachine({
  id: 'node',
  context: ({ input }) => ({ ...input, standing: {}, started: [], ended: [], crashes: {} }),
  initial: 'starting',
  entry: 'spawnMigrations',
  on: {
    stop: '.stopping',
    'xstate.done.actor.migration.*': { actions: 'takeEnd' },
    // In every state: an error that nobody takes ends this machine, and every migration of the process with it.
    'xstate.error.actor.migration.*': { actions: 'takeCrash' },
  },
  states: {
    // `open` waits here.
    starting: {
      on: working,
      always: { guard: 'allSettled', target: 'attending' },
      after: {
        startupBudget: [{ guard: 'continueInBackground', target: 'attending' }, { target: 'overBudget' }],
      },
    },
    // `open` has returned; whatever is left goes on, and what an operator resumes goes on again.
    attending: {
      on: working,
    },
    // `open` fails; nothing is lost.
    overBudget: {
      entry: 'stopMigrations',
      on: ending,
      always: { guard: 'allEnded', target: 'spent' },
    },
    stopping: {
      entry: 'stopMigrations',
      on: ending,
      always: { guard: 'allEnded', target: 'stopped' },
    },
    spent: { type: 'final' },
    stopped: { type: 'final' },
  },
});
