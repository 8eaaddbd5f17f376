import { createActor, fromPromise } from 'xstate';
import type { BeatResult } from '../../machines/lease.ts';
import { leaseMachine } from '../../machines/lease.ts';
import type { Clock } from '../ports/clock.ts';
import type { Inspector } from './machine-clock.ts';
import { hosting } from './machine-clock.ts';

export interface BeatsOptions {
  readonly clock: Clock;
  /** From the beginning of the last beat that succeeded; one heartbeat before its end the lease counts as lost. */
  readonly timeoutMs: number;
  /** Between two beats. */
  readonly heartbeatMs: number;
  /** Monotonic time at which the acquisition began. */
  readonly acquiredAtMs: number;
  readonly beat: () => Promise<BeatResult>;
  /** Called once: somebody else owns it, no beat succeeded in time, or nothing beats any more, which has a cause. */
  readonly onLost: (cause?: unknown) => void;
  readonly inspect: Inspector | undefined;
}

export interface Beats {
  /** For a lease that is given back. Twice is fine, and so it is once the lease is lost. */
  stop(): void;
}

export type StartBeats = (options: BeatsOptions) => Beats;

/** Hosts `machines/lease.ts` for one ownership, from its acquisition on. */
export const startBeats: StartBeats = ({
  clock,
  timeoutMs,
  heartbeatMs,
  acquiredAtMs,
  beat,
  onLost,
  inspect,
}) => {
  const actor = createActor(
    leaseMachine.provide({
      actors: { beat: fromPromise(beat) },
      delays: {
        heartbeat: heartbeatMs,
        expiry: ({ context }) =>
          Math.max(0, timeoutMs - heartbeatMs - (clock.monotonicMs() - context.renewedAtMs)),
      },
    }),
    hosting(clock, inspect),
  );
  actor.subscribe({
    next: (snapshot) => {
      if (snapshot.value === 'lost') onLost();
    },
    // Nobody beats for it from now on.
    error: (cause) => onLost(cause),
  });
  actor.start();
  actor.send({ type: 'acquired', renewedAtMs: acquiredAtMs });
  return {
    stop() {
      if (actor.getSnapshot().status === 'active') actor.send({ type: 'release' });
    },
  };
};
