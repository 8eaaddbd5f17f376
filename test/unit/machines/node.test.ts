import { describe, expect, it } from 'vitest';
import { createActor, fromPromise } from 'xstate';
import type {
  AcquireResult,
  MigrationInput,
  PublishResult,
  WaitResult,
} from '../../../machines/migration.ts';
import { migrationMachine } from '../../../machines/migration.ts';
import type { NodeInput } from '../../../machines/node.ts';
import { nodeMachine } from '../../../machines/node.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

type End = 'published' | 'nothingToDo' | 'paused' | 'canceled' | 'failed';

interface Given extends Partial<NodeInput> {
  /** Undefined: no limit. */
  readonly budgetMs?: number;
}

const independent = (...ids: number[]) => ids.map((modelId) => ({ modelId, dependsOn: [] }));

/** A node whose migrations run until the test ends them; a stop reaches those under way as it does in the host. */
function host({ models = [], maxParallel = 2, continueInBackground = false, budgetMs }: Given) {
  const clock = createVirtualClock();
  const begun: number[] = [];
  const waiting = new Map<number, (result: AcquireResult) => void>();
  const resumes = new Map<number, () => void>();
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
            resumes.set(input.modelId, () => resolve({ type: 'over' }));
          }),
      ),
    },
  });
  const actor = createActor(
    nodeMachine.provide({
      actors: { migration },
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
      resumes.get(modelId)?.();
      await settle();
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
