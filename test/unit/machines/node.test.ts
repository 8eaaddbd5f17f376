import { describe, expect, it } from 'vitest';
import { createActor, fromPromise } from 'xstate';
import type {
  AcquireResult,
  MigrationInput,
  PublishResult,
  WaitResult,
} from '../../../machines/migration.ts';
import { migrationMachine } from '../../../machines/migration.ts';
import type { Crash, NodeInput, Retired } from '../../../machines/node.ts';
import { nodeMachine } from '../../../machines/node.ts';
import { restartDelayMs } from '../../../src/migration/retry.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

type End = 'published' | 'nothingToDo' | 'paused' | 'canceled' | 'failed';

interface Given extends Partial<NodeInput> {
  /** Undefined: no limit. */
  readonly budgetMs?: number;
  /** What crashed does not end by itself: the test ends it. */
  readonly lingers?: boolean;
  /** Whether work under way ends when it is told to. */
  readonly answersStop?: boolean;
}

/** As long as it may get. */
const restartInMs = (crashes: number) => restartDelayMs(crashes, { fraction: () => 1, id: () => '' });

const independent = (...ids: number[]) => ids.map((modelId) => ({ modelId, dependsOn: [] }));

/** A node whose migrations run until the test ends them; a stop reaches those under way as it does in the host. */
function host({
  models = [],
  maxParallel = 2,
  continueInBackground = false,
  budgetMs,
  lingers = false,
  answersStop = true,
}: Given) {
  const clock = createVirtualClock();
  const begun: number[] = [];
  const waiting = new Map<number, (result: AcquireResult) => void>();
  const resumes = new Map<number, (result: WaitResult) => void>();
  const crashes: Crash[] = [];
  const lingering = new Map<number, () => void>();
  const migration = migrationMachine.provide({
    actors: {
      acquireLease: fromPromise<AcquireResult, MigrationInput>(({ input }) => {
        begun.push(input.modelId);
        return new Promise<AcquireResult>((resolve) => waiting.set(input.modelId, resolve));
      }),
      publish: fromPromise<PublishResult, MigrationInput>(() => Promise.resolve({ type: 'completed' })),
      waitForResume: fromPromise<WaitResult, MigrationInput>(
        ({ input }) =>
          new Promise<WaitResult>((resolve) => {
            resumes.set(input.modelId, resolve);
          }),
      ),
    },
  });
  const actor = createActor(
    nodeMachine.provide({
      actors: {
        migration,
        retire: fromPromise<Retired, Crash>(async ({ input }) => {
          crashes.push(input);
          if (lingers) await new Promise<void>((end) => lingering.set(input.modelId, end));
          return { restartInMs: restartInMs(input.crashes) };
        }),
      },
      delays: { startupBudget: budgetMs ?? Number.POSITIVE_INFINITY },
    }),
    {
      input: { models, maxParallel, continueInBackground },
      clock: {
        setTimeout: (callback: () => void, delayMs: number) =>
          Number.isFinite(delayMs) ? clock.setTimeout(callback, delayMs) : undefined,
        clearTimeout: (timer: unknown) => clock.clearTimeout(timer),
      },
    },
  );
  const stopWork = () => {
    if (!answersStop) return;
    for (const resolve of waiting.values()) resolve({ type: 'stopped' });
  };
  actor.subscribe(({ value }) => {
    if (value === 'overBudget' || value === 'stopping') stopWork();
  });
  actor.start();
  const settle = () => clock.advanceAsync(0);
  return {
    begun,
    stop: async () => {
      actor.send({ type: 'stop' });
      await settle();
    },
    resume: async (modelId: number) => {
      resumes.get(modelId)?.({ type: 'over' });
      await settle();
    },
    /** By an answer that the machine cannot read, of what it waits for now. */
    crash: async (modelId: number) => {
      const nothing = undefined as unknown as AcquireResult & WaitResult;
      waiting.get(modelId)?.(nothing);
      resumes.get(modelId)?.(nothing);
      waiting.delete(modelId);
      resumes.delete(modelId);
      await settle();
    },
    /** Ends what a crashed one was still doing. */
    leave: async (modelId: number) => {
      lingering.get(modelId)?.();
      await settle();
    },
    crashes,
    crashesOf: (modelId: number) => actor.getSnapshot().context.crashes[modelId] ?? 0,
    get pendingTimers() {
      return clock.pendingTimers;
    },
    pass: (milliseconds: number) => clock.advanceAsync(milliseconds),
    end: async (modelId: number, as: End = 'published') => {
      const resolve = waiting.get(modelId);
      waiting.delete(modelId);
      if (as === 'published') resolve?.({ type: 'granted', goOn: 'publishing' });
      else if (as === 'nothingToDo') resolve?.({ type: 'nothingToDo' });
      else resolve?.({ type: 'halted', as });
      await settle();
    },
    get state() {
      return actor.getSnapshot().value;
    },
    get isOver() {
      return actor.getSnapshot().status === 'done';
    },
  };
}

describe('a node', () => {
  it('begins as many migrations as may run side by side, in order', async () => {
    const node = host({ models: independent(3, 1, 2, 5, 4), maxParallel: 2 });
    await node.pass(0);
    expect(node.begun).toEqual([3, 1]);
    await node.end(1);
    expect(node.begun).toEqual([3, 1, 2]);
    await node.end(3);
    await node.end(2);
    expect(node.begun).toEqual([3, 1, 2, 5, 4]);
    await node.end(5);
    expect(node.state).toBe('starting');
    await node.end(4);
    expect(node.state).toBe('attending');
  });

  it('begins a model only when all it depends on is done', async () => {
    const models = [
      { modelId: 1, dependsOn: [] },
      { modelId: 2, dependsOn: [] },
      { modelId: 3, dependsOn: [1, 2] },
    ];
    const node = host({ models, maxParallel: 8 });
    await node.end(1);
    expect(node.begun).toEqual([1, 2]);
    await node.end(2, 'nothingToDo');
    expect(node.begun).toEqual([1, 2, 3]);
  });

  it.each(['paused', 'canceled', 'failed'] as const)(
    'is settled when what is left is %s, or waits for what is',
    async (halt) => {
      const models = [
        { modelId: 1, dependsOn: [] },
        { modelId: 2, dependsOn: [1] },
        { modelId: 3, dependsOn: [2] },
        { modelId: 4, dependsOn: [] },
      ];
      const node = host({ models, maxParallel: 1 });
      await node.end(1, halt);
      // The halted one has made room.
      expect(node.begun).toEqual([1, 4]);
      expect(node.state).toBe('starting');
      await node.end(4);
      expect(node.state).toBe('attending');
      expect(node.begun).toEqual([1, 4]);
    },
  );

  it('goes on with what an operator resumes, and then with what waited for it', async () => {
    const models = [
      { modelId: 1, dependsOn: [] },
      { modelId: 2, dependsOn: [1] },
    ];
    const node = host({ models });
    await node.end(1, 'failed');
    expect(node.state).toBe('attending');
    await node.resume(1);
    expect(node.begun).toEqual([1, 1]);
    await node.end(1);
    expect(node.begun).toEqual([1, 1, 2]);
  });

  it('keeps to the limit for what is resumed, too', async () => {
    const node = host({ models: independent(1, 2), maxParallel: 1 });
    await node.end(1, 'paused');
    expect(node.begun).toEqual([1, 2]);
    await node.resume(1);
    expect(node.begun).toEqual([1, 2]);
    await node.end(2);
    expect(node.begun).toEqual([1, 2, 1]);
  });
});

describe('the startup budget', () => {
  it.each([0, 5_000])('of %i ms that is spent hands over to the background', async (budgetMs) => {
    const models = [...independent(1, 2), { modelId: 3, dependsOn: [1] }];
    const node = host({ models, maxParallel: 2, budgetMs, continueInBackground: true });
    if (budgetMs > 0) await node.pass(budgetMs - 1);
    if (budgetMs > 0) expect(node.state).toBe('starting');
    await node.pass(1);
    expect(node.state).toBe('attending');
    await node.end(1);
    expect(node.begun).toEqual([1, 2, 3]);
  });

  it.each([0, 5_000])('of %i ms that is spent stops everything without the background', async (budgetMs) => {
    const models = [...independent(1, 2), { modelId: 3, dependsOn: [1] }];
    const node = host({ models, maxParallel: 1, budgetMs });
    await node.pass(budgetMs);
    expect(node.state).toBe('spent');
    expect(node.isOver).toBe(true);
    expect(node.begun).toEqual([1]);
  });

  it('that is not spent is no matter', async () => {
    const node = host({ models: independent(1), budgetMs: 5_000 });
    await node.pass(4_999);
    await node.end(1);
    expect(node.state).toBe('attending');
    await node.pass(60_000);
    expect(node.state).toBe('attending');
  });

  it('that is none never ends', async () => {
    const node = host({ models: independent(1) });
    await node.pass(10_000_000);
    expect(node.state).toBe('starting');
  });
});

describe('stopping a node', () => {
  it('ends what runs and what waits, and is over when all have ended', async () => {
    const models = [...independent(1, 2, 3), { modelId: 4, dependsOn: [1] }];
    const node = host({ models, maxParallel: 2 });
    await node.end(1, 'failed');
    await node.stop();
    expect(node.state).toBe('stopped');
    expect(node.isOver).toBe(true);
    expect(node.begun).toEqual([1, 2, 3]);
  });

  it('works when everything is done already', async () => {
    const node = host({ models: independent(1) });
    await node.end(1);
    await node.stop();
    expect(node.state).toBe('stopped');
  });

  it('waits for a step that is under way', async () => {
    const clock = createVirtualClock();
    let finish!: (result: AcquireResult) => void;
    const migration = migrationMachine.provide({
      actors: {
        acquireLease: fromPromise<AcquireResult, MigrationInput>(
          () =>
            new Promise<AcquireResult>((resolve) => {
              finish = resolve;
            }),
        ),
      },
    });
    const actor = createActor(nodeMachine.provide({ actors: { migration } }), {
      input: { models: independent(1), maxParallel: 1, continueInBackground: false },
      clock: { setTimeout: () => undefined, clearTimeout: () => undefined },
    });
    actor.start();
    await clock.advanceAsync(0);
    actor.send({ type: 'stop' });
    actor.send({ type: 'stop' });
    await clock.advanceAsync(0);
    expect(actor.getSnapshot().value).toBe('stopping');
    finish({ type: 'stopped' });
    await clock.advanceAsync(0);
    expect(actor.getSnapshot()).toMatchObject({ value: 'stopped', status: 'done' });
  });
});

describe('a migration that crashes', () => {
  it('is started again after a delay, and the others go on meanwhile', async () => {
    const node = host({ models: independent(1, 2), maxParallel: 2 });
    await node.crash(1);
    expect(node.crashes).toEqual([{ modelId: 1, crashes: 1, error: expect.any(Error) as Error }]);
    await node.pass(restartInMs(1) - 1);
    expect(node.begun).toEqual([1, 2]);
    await node.end(2);
    await node.pass(1);
    expect(node.begun).toEqual([1, 2, 1]);
    await node.end(1);
    expect(node.state).toBe('attending');
  });

  it('holds up what depends on it, and nothing else', async () => {
    const models = [
      { modelId: 1, dependsOn: [] },
      { modelId: 2, dependsOn: [1] },
      { modelId: 3, dependsOn: [] },
    ];
    const node = host({ models, maxParallel: 1 });
    await node.crash(1);
    expect(node.begun).toEqual([1, 3]);
    await node.end(3);
    expect(node.begun).toEqual([1, 3]);
    expect(node.state).toBe('starting');
    await node.pass(restartInMs(1));
    await node.end(1);
    expect(node.begun).toEqual([1, 3, 1, 2]);
  });

  it('keeps its place until what it did has ended, and comes back only when there is one', async () => {
    const node = host({ models: independent(1, 2, 3), maxParallel: 1, lingers: true });
    await node.crash(1);
    await node.pass(60_000);
    expect(node.begun).toEqual([1]);
    await node.leave(1);
    expect(node.begun).toEqual([1, 2]);
    await node.pass(restartInMs(1));
    expect(node.begun).toEqual([1, 2]);
    await node.end(2);
    expect(node.begun).toEqual([1, 2, 1]);
  });

  it('waits longer each time it crashes in a row, up to half a minute, and never ends trying', async () => {
    const node = host({ models: independent(1) });
    const delaysMs = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000];
    for (const [before, delayMs] of delaysMs.entries()) {
      await node.crash(1);
      expect(node.crashesOf(1)).toBe(before + 1);
      await node.pass(delayMs - 1);
      expect(node.begun).toHaveLength(before + 1);
      await node.pass(1);
      expect(node.begun).toHaveLength(before + 2);
    }
    expect(node.state).toBe('starting');
  });

  it('counts anew when it has run for a minute since', async () => {
    const node = host({ models: independent(1) });
    await node.crash(1);
    await node.pass(restartInMs(1) + 59_999);
    expect(node.crashesOf(1)).toBe(1);
    await node.crash(1);
    expect(node.crashesOf(1)).toBe(2);
    await node.pass(restartInMs(2) + 60_000);
    expect(node.crashesOf(1)).toBe(0);
    await node.crash(1);
    expect(node.crashes.at(-1)?.crashes).toBe(1);
  });

  it('counts nothing any more when it is done, and no timer is left', async () => {
    const node = host({ models: independent(1) });
    await node.crash(1);
    await node.pass(restartInMs(1));
    await node.end(1);
    expect(node.state).toBe('attending');
    expect(node.crashesOf(1)).toBe(0);
    expect(node.pendingTimers).toBe(0);
  });

  it('counts on when it crashes each time that it stands still', async () => {
    const node = host({ models: independent(1) });
    for (const crashes of [1, 2, 3]) {
      await node.end(1, 'paused');
      await node.crash(1);
      expect(node.crashesOf(1)).toBe(crashes);
      await node.pass(restartInMs(crashes));
    }
  });

  it('is not settled until it stands still again', async () => {
    const models = [...independent(1), { modelId: 2, dependsOn: [1] }];
    const node = host({ models });
    await node.crash(1);
    expect(node.state).toBe('starting');
    await node.pass(restartInMs(1));
    expect(node.state).toBe('starting');
    await node.end(1, 'paused');
    expect(node.state).toBe('attending');
    await node.crash(1);
    expect(node.state).toBe('attending');
    await node.pass(restartInMs(2));
    expect(node.begun).toEqual([1, 1, 1]);
    await node.end(1);
    expect(node.begun).toEqual([1, 1, 1, 2]);
  });

  it.each([true, false])(
    'for ever spends the startup budget, with the background: %s',
    async (continueInBackground) => {
      const node = host({ models: independent(1, 2), budgetMs: 5_000, continueInBackground });
      await node.end(2);
      for (let crashes = 1; node.state === 'starting'; crashes += 1) {
        await node.crash(1);
        await node.pass(restartInMs(crashes));
      }
      expect(node.state).toBe(continueInBackground ? 'attending' : 'spent');
    },
  );

  it('is ended at once by a stop while its restart is waited for', async () => {
    const node = host({ models: independent(1, 2) });
    await node.end(2);
    await node.crash(1);
    await node.stop();
    expect(node.state).toBe('stopped');
    expect(node.isOver).toBe(true);
    expect(node.pendingTimers).toBe(0);
    await node.pass(60_000);
    expect(node.begun).toEqual([1, 2]);
  });

  it('is ended at once by a budget that is spent while its restart is waited for', async () => {
    const node = host({ models: independent(1), budgetMs: 100 });
    await node.crash(1);
    await node.pass(100);
    expect(node.state).toBe('spent');
    expect(node.begun).toEqual([1]);
  });

  it.each(['stopping', 'overBudget'] as const)(
    'is waited for while what it did ends, and not started again: %s',
    async (state) => {
      const node = host({ models: independent(1), budgetMs: 100, lingers: true });
      await node.crash(1);
      if (state === 'stopping') await node.stop();
      else await node.pass(100);
      expect(node.state).toBe(state);
      await node.pass(60_000);
      expect(node.state).toBe(state);
      await node.leave(1);
      expect(node.state).toBe(state === 'stopping' ? 'stopped' : 'spent');
      expect(node.begun).toEqual([1]);
    },
  );

  it.each(['stopping', 'overBudget'] as const)('while it ends is not started again: %s', async (state) => {
    const node = host({ models: independent(1, 2), budgetMs: 100, lingers: true, answersStop: false });
    if (state === 'stopping') await node.stop();
    else await node.pass(100);
    await node.crash(1);
    expect(node.state).toBe(state);
    await node.leave(1);
    await node.end(2, 'nothingToDo');
    await node.pass(60_000);
    expect(node.state).toBe(state === 'stopping' ? 'stopped' : 'spent');
    expect(node.begun).toEqual([1, 2]);
  });

  it('is stopped like any other once it was started again', async () => {
    const node = host({ models: independent(1) });
    await node.crash(1);
    await node.pass(restartInMs(1));
    await node.stop();
    expect(node.state).toBe('stopped');
    expect(node.pendingTimers).toBe(0);
  });

  it('is started again where nobody could end what it did', async () => {
    const clock = createVirtualClock();
    let begun = 0;
    const migration = migrationMachine.provide({
      actors: {
        acquireLease: fromPromise<AcquireResult, MigrationInput>(() => {
          begun += 1;
          return Promise.resolve(
            begun === 1 ? (undefined as unknown as AcquireResult) : { type: 'nothingToDo' },
          );
        }),
      },
    });
    const retire = fromPromise<Retired, Crash>(() => Promise.reject(new Error('cannot end it')));
    const actor = createActor(nodeMachine.provide({ actors: { migration, retire } }), {
      input: { models: independent(1), maxParallel: 1, continueInBackground: false },
      clock: {
        setTimeout: (callback: () => void, delayMs: number) =>
          Number.isFinite(delayMs) ? clock.setTimeout(callback, delayMs) : undefined,
        clearTimeout: (timer: unknown) => clock.clearTimeout(timer),
      },
    });
    actor.start();
    await clock.advanceAsync(29_999);
    expect(begun).toBe(1);
    await clock.advanceAsync(1);
    expect(actor.getSnapshot().value).toBe('attending');
  });
});
