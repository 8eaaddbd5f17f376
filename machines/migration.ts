import { assign, fromPromise, sendParent, setup } from 'xstate';
import type { MigrationPhase } from '../src/migration/state.ts';

/**
 * One model's migration, from waiting for its dependencies to published.
 *
 * What is persisted is not this machine's snapshot but `MigrationState`; `acquiringLease` answers where to go on.
 * Every state in which work is done is left by the answer of that work, never in the middle of it: a stop is passed
 * to the work by the host and comes back as `stopped`.
 */

/** What acquiring the lease, and reading the database in the same transaction, found. */
export type AcquireResult =
  /** The lease is held; this is where to go on. */
  | { readonly type: 'granted'; readonly goOn: MigrationPhase | 'publishing' }
  /** Another node has done it, or it was reset. */
  | { readonly type: 'nothingToDo' }
  /** The database says that an operator has to resume it first. */
  | { readonly type: 'halted'; readonly as: Halt }
  | { readonly type: 'stopped' };

/** How one step of a phase, or the publication, ended. All but the last two are persisted when they are answered. */
export type StepResult =
  | { readonly type: 'completed' }
  | { readonly type: 'partial' }
  | { readonly type: 'retry' }
  | { readonly type: 'halted'; readonly as: Halt }
  | { readonly type: 'leaseLost' }
  | { readonly type: 'stopped' };

/** How the wait for an operator's approval ended. Where none is needed, it is `approved` at once. */
export type ApprovalResult =
  | { readonly type: 'approved' }
  | { readonly type: 'halted'; readonly as: 'paused' | 'canceled' }
  | { readonly type: 'leaseLost' }
  | { readonly type: 'stopped' };

/** How the publication ended: a chain of versions may have others to publish, and an operator may have come first. */
export type PublishResult =
  | { readonly type: 'completed' }
  | { readonly type: 'partial' }
  | { readonly type: 'halted'; readonly as: 'paused' | 'canceled' }
  | { readonly type: 'leaseLost' };

export type WaitResult = { readonly type: 'over' } | { readonly type: 'stopped' };

/** A retry is waited for under the lease. */
export type RetryResult = WaitResult | { readonly type: 'leaseLost' };

/** What threw may be worth another try, or a failure of this process alone. */
export type RecoverResult = WaitResult | { readonly type: 'halted'; readonly as: 'failed' };

export type Halt = 'paused' | 'canceled' | 'failed';

/** What the node hears of each of its migrations. */
export interface MigrationNotice {
  readonly type: 'migration.notice';
  readonly modelId: number;
  readonly is: 'waiting' | 'running' | 'done' | 'stopped' | Halt;
}

export interface MigrationInput {
  readonly modelId: number;
}

export interface MigrationMachineContext {
  readonly modelId: number;
  /** The phase being run, or retried; `publishing` when only that is left. */
  readonly phase: MigrationPhase | 'publishing';
}

export type MigrationMachineEvent =
  /** The node: dependencies are published and there is room. */
  { readonly type: 'go' } | { readonly type: 'stop' };

export interface StepInput {
  readonly modelId: number;
  readonly phase: MigrationPhase | 'publishing';
}

const unhosted = () => Promise.reject(new Error('the host supplies the effects of this machine'));

const machine = setup({
  types: {
    context: {} as MigrationMachineContext,
    events: {} as MigrationMachineEvent,
    input: {} as MigrationInput,
  },
  actors: {
    acquireLease: fromPromise<AcquireResult, MigrationInput>(unhosted),
    runStep: fromPromise<StepResult, StepInput>(unhosted),
    /** Waits under the lease until an operator has approved what was verified, where that is asked for. */
    awaitApproval: fromPromise<ApprovalResult, MigrationInput>(unhosted),
    publish: fromPromise<PublishResult, MigrationInput>(unhosted),
    /** Waits out a retry's delay under the lease, obeying the operator meanwhile. It does not throw itself. */
    waitForRetry: fromPromise<RetryResult, StepInput>(unhosted),
    /** Waits until an operator resumes. */
    waitForResume: fromPromise<WaitResult, MigrationInput>(unhosted),
    /** Waits after the database or a bug threw out of the other actors. It does not throw itself. */
    recover: fromPromise<RecoverResult, MigrationInput & { readonly error: unknown }>(unhosted),
  },
  actions: {
    notify: sendParent(({ context }, params: { is: MigrationNotice['is'] }): MigrationNotice => ({
      type: 'migration.notice',
      modelId: context.modelId,
      is: params.is,
    })),
    enterPhase: assign((_, params: { phase: MigrationPhase | 'publishing' }) => ({ phase: params.phase })),
  },
  guards: {
    inPhase: ({ context }, params: { phase: MigrationPhase | 'publishing' }) =>
      context.phase === params.phase,
  },
});

const modelOf = ({ context }: { context: MigrationMachineContext }): MigrationInput => ({
  modelId: context.modelId,
});

const isType =
  (type: string) =>
  ({ event }: { event: { output: { type: string } } }) =>
    event.output.type === type;

const leaseLost = { guard: isType('leaseLost'), target: 'acquiringLease' } as const;
const stopped = { guard: isType('stopped'), target: 'stopped' } as const;
const paused = { guard: haltedAs('paused'), target: 'paused' } as const;
const canceled = { guard: haltedAs('canceled'), target: 'canceled' } as const;
const failed = { guard: haltedAs('failed'), target: 'failed' } as const;

function haltedAs(halt: Halt) {
  return ({ event }: { event: { output: { type: string; as?: Halt } } }) =>
    event.output.type === 'halted' && event.output.as === halt;
}

function phaseState<Next extends string>(phase: MigrationPhase, own: string, next: Next) {
  return {
    entry: { type: 'enterPhase', params: { phase } },
    invoke: {
      src: 'runStep',
      input: ({ context }: { context: MigrationMachineContext }) => ({ modelId: context.modelId, phase }),
      onDone: [
        { guard: isType('completed'), target: next },
        { guard: isType('partial'), target: own, reenter: true },
        { guard: isType('retry'), target: 'retrying' },
        leaseLost,
        stopped,
        paused,
        canceled,
        failed,
      ],
      onError: 'recovering',
    },
  } as const;
}

function haltState(halt: Halt) {
  return {
    entry: { type: 'notify', params: { is: halt } },
    on: { stop: 'stopped' },
    invoke: {
      src: 'waitForResume',
      input: modelOf,
      onDone: [stopped, { target: 'waitingForDependencies' }],
      onError: 'recovering',
    },
  } as const;
}

export const migrationMachine = machine.createMachine({
  id: 'migration',
  context: ({ input }) => ({ modelId: input.modelId, phase: 'Expand' }),
  initial: 'waitingForDependencies',
  states: {
    waitingForDependencies: {
      entry: { type: 'notify', params: { is: 'waiting' } },
      on: { go: 'acquiringLease', stop: 'stopped' },
    },

    // The plan is compared again and the gate closed in the transaction that makes this node the owner.
    acquiringLease: {
      entry: { type: 'notify', params: { is: 'running' } },
      invoke: {
        src: 'acquireLease',
        input: modelOf,
        onDone: [
          { guard: isType('nothingToDo'), target: 'done' },
          stopped,
          paused,
          canceled,
          failed,
          {
            target: 'entering',
            actions: assign({
              phase: ({ context, event }) =>
                event.output.type === 'granted' ? event.output.goOn : context.phase,
            }),
          },
        ],
        onError: 'recovering',
      },
    },

    // Where a restarted process goes on.
    entering: {
      always: [
        { guard: { type: 'inPhase', params: { phase: 'Expand' } }, target: 'expand' },
        { guard: { type: 'inPhase', params: { phase: 'Backfill' } }, target: 'backfill' },
        { guard: { type: 'inPhase', params: { phase: 'Verify' } }, target: 'verify' },
        { guard: { type: 'inPhase', params: { phase: 'Contract' } }, target: 'awaitingApproval' },
        { target: 'publishing' },
      ],
    },

    expand: phaseState('Expand', 'expand', 'backfill'),
    backfill: phaseState('Backfill', 'backfill', 'verify'),
    verify: phaseState('Verify', 'verify', 'awaitingApproval'),

    // Nothing of Contract begins before it; whoever goes on with Contract comes by here.
    awaitingApproval: {
      invoke: {
        src: 'awaitApproval',
        input: modelOf,
        onDone: [{ guard: isType('approved'), target: 'contract' }, leaseLost, stopped, paused, canceled],
        onError: 'recovering',
      },
    },

    contract: phaseState('Contract', 'contract', 'publishing'),

    publishing: {
      entry: { type: 'enterPhase', params: { phase: 'publishing' } },
      invoke: {
        src: 'publish',
        input: modelOf,
        onDone: [
          { guard: isType('completed'), target: 'done' },
          // A step of a chain of versions: the next one is a migration of its own.
          { guard: isType('partial'), target: 'acquiringLease' },
          leaseLost,
          paused,
          canceled,
        ],
        onError: 'recovering',
      },
    },

    retrying: {
      invoke: {
        src: 'waitForRetry',
        input: ({ context }) => ({ modelId: context.modelId, phase: context.phase }),
        onDone: [leaseLost, stopped, { target: 'entering' }],
      },
    },

    recovering: {
      invoke: {
        src: 'recover',
        input: ({ context, event }) => ({
          modelId: context.modelId,
          error: 'error' in event ? event.error : undefined,
        }),
        onDone: [stopped, failed, { target: 'acquiringLease' }],
      },
    },

    // The lease is released; an operator has the word.
    paused: haltState('paused'),
    canceled: haltState('canceled'),
    failed: haltState('failed'),

    done: { type: 'final', entry: { type: 'notify', params: { is: 'done' } } },
    stopped: { type: 'final', entry: { type: 'notify', params: { is: 'stopped' } } },
  },
});
