import { createActor, fromPromise } from 'xstate';
import { migrationMachine } from '../../machines/migration.ts';
import type { NodeStanding } from '../../machines/node.ts';
import { nodeMachine } from '../../machines/node.ts';
import type { Clock } from '../ports/clock.ts';
import type { Incarnations } from './incarnations.ts';
import type { Inspector } from './machine-clock.ts';
import { hosting, longestDelayMs } from './machine-clock.ts';

/** The migrations of this process, hosted. */
export interface MigrationNode {
  /** `attending`: settled, or handed over to the background. `spent`: the budget is, and everything has stopped. */
  readonly started: Promise<'attending' | 'spent'>;
  /** Where each stands, by model id. */
  standing(modelId: number): NodeStanding | undefined;
  /** How often in a row its actor crashed. */
  crashes(modelId: number): number;
  /** Ends at the next boundary of each; resolves when all have. Twice is fine. */
  stop(): Promise<void>;
}

export interface MigrationNodeOptions {
  /** In dependency order. */
  readonly models: readonly { readonly modelId: number; readonly dependsOn: readonly number[] }[];
  readonly incarnations: Incarnations;
  readonly clock: Clock;
  readonly maxParallel: number;
  /** Milliseconds; undefined: no limit. */
  readonly startupBudgetMs: number | undefined;
  readonly continueInBackground: boolean;
  /** Tells the work under way to stop at its next boundary. */
  readonly stopWork: () => void;
  readonly onFault: (error: unknown) => void;
  /** The actor of a model was started again after a crash. */
  readonly onRestart: (modelId: number) => void;
  /** Default: nobody is told. */
  readonly inspect?: Inspector | undefined;
}

export function startMigrationNode(options: MigrationNodeOptions): MigrationNode {
  const { incarnations, models, maxParallel, continueInBackground, startupBudgetMs, stopWork } = options;
  const { effects } = incarnations;
  const hosted = migrationMachine.provide({
    actors: {
      acquireLease: fromPromise(({ input }) => effects.acquireLease(input)),
      runStep: fromPromise(({ input }) => effects.runStep(input)),
      awaitApproval: fromPromise(({ input }) => effects.awaitApproval(input)),
      publish: fromPromise(({ input }) => effects.publish(input)),
      waitForRetry: fromPromise(({ input }) => effects.waitForRetry(input)),
      waitForResume: fromPromise(({ input }) => effects.waitForResume(input)),
      recover: fromPromise(({ input }) => effects.recover(input)),
    },
  });
  const actor = createActor(
    nodeMachine.provide({
      actors: { migration: hosted, retire: fromPromise(({ input }) => incarnations.retire(input)) },
      actions: {
        tellRestart: ({ event }) => {
          if (event.type === 'restart') options.onRestart(event.modelId);
        },
      },
      delays: { startupBudget: startupBudgetMs ?? Number.POSITIVE_INFINITY },
    }),
    { input: { models, maxParallel, continueInBackground }, ...hosting(options.clock, options.inspect) },
  );

  let ended!: () => void;
  const over = new Promise<void>((resolve) => {
    ended = resolve;
  }).then(() => incarnations.ended());
  const keepAlive = createKeepAlive(options.clock);
  const started = new Promise<'attending' | 'spent'>((resolve, reject) => {
    actor.subscribe({
      next({ value, context }) {
        keepAlive(Object.values(context.standing).includes('restarting'));
        if (value === 'overBudget' || value === 'stopping') stopWork();
        if (value === 'attending') resolve('attending');
        if (value === 'spent' || value === 'stopped') resolve('spent');
      },
      error(error) {
        options.onFault(error);
        keepAlive(false);
        stopWork();
        reject(error instanceof Error ? error : new Error('the node machine failed', { cause: error }));
        ended();
      },
      complete: () => {
        keepAlive(false);
        resolve('spent');
        ended();
      },
    });
  });
  started.catch(() => undefined);
  actor.start();
  return {
    started,
    standing: (modelId) => actor.getSnapshot().context.standing[modelId],
    crashes: (modelId) => actor.getSnapshot().context.crashes[modelId] ?? 0,
    stop() {
      if (actor.getSnapshot().status === 'active') actor.send({ type: 'stop' });
      return over;
    },
  };
}

/** A restart that is waited for is work in progress, and the timers of machines keep no process alive. */
function createKeepAlive(clock: Clock): (isNeeded: boolean) => void {
  let timer: unknown;
  return (isNeeded) => {
    if (isNeeded) timer ??= clock.setTimeout(() => undefined, longestDelayMs, { ref: true });
    else clock.clearTimeout(timer);
    if (!isNeeded) timer = undefined;
  };
}
