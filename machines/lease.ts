import { assign, fromPromise, setup } from 'xstate';

/**
 * One ownership, from taken to gone: absent -> held -> lost or released.
 *
 * While held, a heartbeat is due every `heartbeat` ms. One that fails is no lost lease: the next may succeed. The
 * owner stops by itself when `expiry` has passed since the beginning of the last beat that did.
 */
export type BeatResult =
  | { readonly type: 'renewed'; readonly renewedAtMs: number }
  /** Somebody else owns it: the beat's transaction saw another epoch or token. */
  | { readonly type: 'lost' };

interface LeaseMachineContext {
  /** Monotonic time at which the last successful beat (or the acquisition) began. */
  readonly renewedAtMs: number;
}

export type LeaseMachineEvent =
  { readonly type: 'acquired'; readonly renewedAtMs: number } | { readonly type: 'release' };

export const leaseMachine = setup({
  types: {
    context: {} as LeaseMachineContext,
    events: {} as LeaseMachineEvent,
  },
  actors: {
    beat: fromPromise<BeatResult>(() => Promise.reject(new Error('the host supplies the beat'))),
  },
  delays: { heartbeat: 0, expiry: 0 },
}).createMachine({
  id: 'lease',
  context: { renewedAtMs: 0 },
  initial: 'absent',
  states: {
    absent: {
      on: {
        acquired: { target: 'held', actions: assign({ renewedAtMs: ({ event }) => event.renewedAtMs }) },
      },
    },
    held: {
      after: { expiry: 'lost' },
      on: { release: 'released' },
      initial: 'waiting',
      states: {
        waiting: { after: { heartbeat: 'beating' } },
        beating: {
          invoke: {
            src: 'beat',
            onDone: [
              { guard: ({ event }) => event.output.type === 'lost', target: '#lease.lost' },
              {
                // Enters `held` anew, so that the expiry counts from this beat.
                target: '#lease.held',
                reenter: true,
                actions: assign({
                  renewedAtMs: ({ context, event }) =>
                    event.output.type === 'renewed' ? event.output.renewedAtMs : context.renewedAtMs,
                }),
              },
            ],
            onError: 'waiting',
          },
        },
      },
    },
    lost: { type: 'final' },
    released: { type: 'final' },
  },
});
