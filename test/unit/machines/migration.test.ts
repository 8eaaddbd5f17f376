import { describe, expect, it } from 'vitest';
import type { AnyActorRef } from 'xstate';
import { createActor, fromPromise, setup } from 'xstate';
import type {
  AcquireResult,
  ApprovalResult,
  MigrationInput,
  MigrationNotice,
  PublishResult,
  RecoverResult,
  RetryResult,
  StepInput,
  StepResult,
  WaitResult,
} from '../../../machines/migration.ts';
import { migrationMachine } from '../../../machines/migration.ts';

type Answer =
  AcquireResult | StepResult | ApprovalResult | PublishResult | RetryResult | RecoverResult | Error;
type Effect =
  'acquireLease' | 'runStep' | 'awaitApproval' | 'publish' | 'waitForRetry' | 'waitForResume' | 'recover';

const completed: StepResult = { type: 'completed' };
const granted = (goOn: 'Expand' | 'Backfill' | 'Verify' | 'Contract' | 'publishing'): AcquireResult => ({
  type: 'granted',
  goOn,
});
const halted = (as: 'paused' | 'canceled' | 'failed') => ({ type: 'halted', as }) as const;

/**
 * Hosts a machine whose effects answer one after another what the script says, under a parent that hears its notices.
 * Where the script ends, an effect never answers.
 */
async function follow(
  script: Partial<Record<Effect, readonly Answer[]>>,
  events: readonly ('go' | 'stop')[] = ['go'],
) {
  const left = new Map(Object.entries(script).map(([name, answers]) => [name, [...answers]]));
  const steps: string[] = [];
  const answer = <T extends Answer>(effect: Effect, phase?: string): Promise<T> => {
    steps.push(phase === undefined ? effect : `${effect} ${phase}`);
    const next = left.get(effect)?.shift();
    if (next === undefined) return new Promise(() => undefined);
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(next as T);
  };
  const hosted = migrationMachine.provide({
    actors: {
      acquireLease: fromPromise<AcquireResult, MigrationInput>(() => answer('acquireLease')),
      runStep: fromPromise<StepResult, StepInput>(({ input }) => answer('runStep', input.phase)),
      // Of no interest to most: then it is approved.
      awaitApproval: fromPromise<ApprovalResult, MigrationInput>(() =>
        left.has('awaitApproval') ? answer('awaitApproval') : Promise.resolve({ type: 'approved' }),
      ),
      publish: fromPromise<PublishResult, MigrationInput>(() => answer('publish')),
      waitForRetry: fromPromise<RetryResult, StepInput>(({ input }) => answer('waitForRetry', input.phase)),
      waitForResume: fromPromise<WaitResult, MigrationInput>(() => answer('waitForResume')),
      recover: fromPromise<RecoverResult, MigrationInput & { readonly error: unknown }>(() =>
        answer('recover'),
      ),
    },
  });
  const notices: string[] = [];
  const parent = createActor(
    setup({ types: { events: {} as MigrationNotice }, actors: { hosted } }).createMachine({
      invoke: { id: 'child', src: 'hosted', input: { modelId: 7 } },
      on: { 'migration.notice': { actions: ({ event }) => void notices.push(event.is) } },
    }),
  );
  parent.start();
  const child = parent.getSnapshot().children['child'] as AnyActorRef;
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  await settle();
  for (const type of events) {
    child.send({ type });
    await settle();
  }
  const snapshot = child.getSnapshot() as { value: string; status: string };
  parent.stop();
  return { steps, notices, state: snapshot.value, status: snapshot.status };
}

describe('a migration', () => {
  it('runs its phases in order and is published', async () => {
    const end = await follow({
      acquireLease: [granted('Expand')],
      runStep: [completed, completed, completed, completed],
      publish: [completed],
    });
    expect(end.steps).toEqual([
      'acquireLease',
      'runStep Expand',
      'runStep Backfill',
      'runStep Verify',
      'runStep Contract',
      'publish',
    ]);
    expect(end).toMatchObject({ state: 'done', status: 'done', notices: ['waiting', 'running', 'done'] });
  });

  it.each([
    ['Expand', 4],
    ['Backfill', 3],
    ['Verify', 2],
    ['Contract', 1],
    ['publishing', 0],
  ] as const)('goes on at %s when that is where the database says it stands', async (goOn, steps) => {
    const end = await follow({
      acquireLease: [granted(goOn)],
      runStep: Array.from({ length: 4 }, () => completed),
      publish: [completed],
    });
    expect(end.steps.filter((step) => step.startsWith('runStep'))).toHaveLength(steps);
    expect(end.state).toBe('done');
  });

  it('waits until the node says go, and stops before that without having done anything', async () => {
    expect(await follow({}, [])).toMatchObject({
      steps: [],
      state: 'waitingForDependencies',
      notices: ['waiting'],
    });
    expect(await follow({}, ['stop'])).toMatchObject({ steps: [], state: 'stopped', status: 'done' });
  });
});

describe('acquiring the lease', () => {
  it.each([
    [{ type: 'nothingToDo' }, 'done', ['waiting', 'running', 'done']],
    [{ type: 'stopped' }, 'stopped', ['waiting', 'running', 'stopped']],
    [halted('paused'), 'paused', ['waiting', 'running', 'paused']],
    [halted('canceled'), 'canceled', ['waiting', 'running', 'canceled']],
    [halted('failed'), 'failed', ['waiting', 'running', 'failed']],
    [new Error('no database'), 'recovering', ['waiting', 'running']],
  ] as const)('that answers %j leads to %s', async (result, state, notices) => {
    const end = await follow({ acquireLease: [result] });
    expect(end).toMatchObject({ state, notices });
    expect(end.steps.some((step) => step.startsWith('runStep'))).toBe(false);
  });
});

describe.each([
  ['Expand', 'expand'],
  ['Backfill', 'backfill'],
  ['Verify', 'verify'],
  ['Contract', 'contract'],
] as const)('a step of %s', (phase, state) => {
  const start = { acquireLease: [granted(phase)] };

  it('that is partial is followed by another one', async () => {
    const end = await follow({ ...start, runStep: [{ type: 'partial' }, { type: 'partial' }] });
    expect(end.steps).toEqual(['acquireLease', ...Array.from({ length: 3 }, () => `runStep ${phase}`)]);
    expect(end.state).toBe(state);
  });

  it('that asks for a retry is followed by a wait, then by another one', async () => {
    const end = await follow({
      ...start,
      runStep: [{ type: 'retry' }],
      waitForRetry: [{ type: 'over' }],
    });
    expect(end.steps).toEqual([
      'acquireLease',
      `runStep ${phase}`,
      `waitForRetry ${phase}`,
      `runStep ${phase}`,
    ]);
  });

  it('that lost its lease is followed by acquiring it again, and goes on where the database stands', async () => {
    const end = await follow({
      acquireLease: [granted(phase), granted('Contract')],
      runStep: [{ type: 'leaseLost' }],
    });
    expect(end.steps).toEqual(['acquireLease', `runStep ${phase}`, 'acquireLease', 'runStep Contract']);
  });

  it.each([
    [{ type: 'stopped' }, 'stopped'],
    [halted('paused'), 'paused'],
    [halted('canceled'), 'canceled'],
    [halted('failed'), 'failed'],
    [new Error('no database'), 'recovering'],
  ] as const)('that ends with %j leads to %s', async (result, ended) => {
    const end = await follow({ ...start, runStep: [result] });
    expect(end.state).toBe(ended);
  });
});

describe('waiting for an approval', () => {
  const start = { acquireLease: [granted('Verify')], runStep: [completed] };

  it.each([
    [{ type: 'approved' }, 'contract'],
    [{ type: 'leaseLost' }, 'acquiringLease'],
    [{ type: 'stopped' }, 'stopped'],
    [halted('paused'), 'paused'],
    [halted('canceled'), 'canceled'],
    [new Error('no database'), 'recovering'],
  ] as const)('that ends with %j leads to %s', async (result, state) => {
    const end = await follow({ ...start, awaitApproval: [result] });
    expect(end.state).toBe(state);
    expect(end.steps.includes('runStep Contract')).toBe(state === 'contract');
  });

  it('comes before Contract also where a restarted process or a retry goes on with it', async () => {
    const end = await follow({
      acquireLease: [granted('Contract')],
      awaitApproval: [{ type: 'approved' }, { type: 'approved' }],
      runStep: [{ type: 'retry' }, completed],
      waitForRetry: [{ type: 'over' }],
      publish: [completed],
    });
    const once = ['awaitApproval', 'runStep Contract'];
    expect(end.steps).toEqual(['acquireLease', ...once, 'waitForRetry Contract', ...once, 'publish']);
    expect(end.state).toBe('done');
  });
});

describe('publishing', () => {
  const start = { acquireLease: [granted('publishing')] };

  it.each([
    [completed, 'done'],
    [{ type: 'leaseLost' }, 'acquiringLease'],
    [{ type: 'partial' }, 'acquiringLease'],
    [halted('paused'), 'paused'],
    [halted('canceled'), 'canceled'],
    [new Error('no database'), 'recovering'],
  ] as const)('that answers %j leads to %s', async (result, state) => {
    expect((await follow({ ...start, publish: [result] })).state).toBe(state);
  });
});

describe('waiting before a retry', () => {
  const start = { acquireLease: [granted('Verify')], runStep: [{ type: 'retry' } as const] };

  it.each([
    [{ type: 'over' }, 'verify'],
    [{ type: 'leaseLost' }, 'acquiringLease'],
    [{ type: 'stopped' }, 'stopped'],
  ] as const)('that ends with %j leads to %s', async (result, state) => {
    expect((await follow({ ...start, waitForRetry: [result] })).state).toBe(state);
  });
});

describe.each(['paused', 'canceled', 'failed'] as const)('a migration that is %s', (as) => {
  const start = { acquireLease: [halted(as)] };

  it('waits for its turn again when an operator resumes', async () => {
    const end = await follow({ ...start, waitForResume: [{ type: 'over' }] });
    expect(end).toMatchObject({
      state: 'waitingForDependencies',
      notices: ['waiting', 'running', as, 'waiting'],
    });
  });

  it('stops when the store closes, by either way', async () => {
    const answered = await follow({ ...start, waitForResume: [{ type: 'stopped' }] });
    expect(answered.state).toBe('stopped');
    const told = await follow(start, ['go', 'stop']);
    expect(told.state).toBe('stopped');
  });

  it('recovers when it cannot watch', async () => {
    const end = await follow({ ...start, waitForResume: [new Error('no database')] });
    expect(end.state).toBe('recovering');
  });
});

describe('recovering', () => {
  const start = { acquireLease: [new Error('no database')] };

  it.each([
    [{ type: 'over' }, 'acquiringLease'],
    [{ type: 'stopped' }, 'stopped'],
    [halted('failed'), 'failed'],
  ] as const)('that ends with %j leads to %s', async (result, state) => {
    expect((await follow({ ...start, recover: [result] })).state).toBe(state);
  });
});
