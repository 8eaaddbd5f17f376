import { describe, expect, it } from 'vitest';
import { createActor, fromPromise } from 'xstate';
import type { BeatResult } from '../../../machines/lease.ts';
import { leaseMachine } from '../../../machines/lease.ts';
import type { VirtualClock } from '../../rig/virtual-clock.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const timeoutMs = 10_000;
const heartbeatMs = 2_500;

type Beat = (clock: VirtualClock) => Promise<BeatResult>;

/** A lease whose beats go as the test says, held since the clock began. */
function hold(beat: Beat) {
  const clock = createVirtualClock();
  const beatsAtMs: number[] = [];
  const actor = createActor(
    leaseMachine.provide({
      actors: {
        beat: fromPromise(() => {
          beatsAtMs.push(clock.monotonicMs());
          return beat(clock);
        }),
      },
      delays: {
        heartbeat: heartbeatMs,
        expiry: ({ context }) =>
          Math.max(0, timeoutMs - heartbeatMs - (clock.monotonicMs() - context.renewedAtMs)),
      },
    }),
    {
      clock: {
        setTimeout: (callback: () => void, delayMs: number) => clock.setTimeout(callback, delayMs),
        clearTimeout: (timer: unknown) => clock.clearTimeout(timer),
      },
    },
  );
  let lostAtMs: number | undefined;
  actor.subscribe(({ value }) => {
    if (value === 'lost') lostAtMs ??= clock.monotonicMs();
  });
  actor.start();
  actor.send({ type: 'acquired', renewedAtMs: 0 });
  return {
    clock,
    actor,
    beatsAtMs,
    lostAtMs: () => lostAtMs,
    isHeld: () => actor.getSnapshot().matches('held'),
  };
}

const renew: Beat = (clock) => Promise.resolve({ type: 'renewed', renewedAtMs: clock.monotonicMs() });
const failing: Beat = () => Promise.reject(new Error('no database'));

describe('a lease', () => {
  it('is absent until it is acquired', () => {
    const actor = createActor(leaseMachine).start();
    expect(actor.getSnapshot().value).toBe('absent');
  });

  it('is kept for as long as its beats succeed, one every interval', async () => {
    const { clock, beatsAtMs, isHeld } = hold(renew);
    await clock.advanceAsync(60_000);
    expect(isHeld()).toBe(true);
    expect(beatsAtMs).toEqual(Array.from({ length: 24 }, (_, n) => (n + 1) * heartbeatMs));
  });

  it('is given up before the timeout when every beat fails', async () => {
    const { clock, lostAtMs, actor } = hold(failing);
    await clock.advanceAsync(60_000);
    expect(lostAtMs()).toBe(timeoutMs - heartbeatMs);
    expect(actor.getSnapshot().status).toBe('done');
  });

  it('is given up before the timeout when beats hang', async () => {
    const { clock, lostAtMs, beatsAtMs } = hold(() => new Promise(() => undefined));
    await clock.advanceAsync(60_000);
    expect(lostAtMs()).toBe(timeoutMs - heartbeatMs);
    expect(beatsAtMs).toEqual([heartbeatMs]);
  });

  it('is not lost by one beat that fails', async () => {
    let beats = 0;
    const { clock, isHeld } = hold((now) => {
      beats += 1;
      return beats === 1 ? failing(now) : renew(now);
    });
    await clock.advanceAsync(60_000);
    expect(isHeld()).toBe(true);
  });

  it('counts its time from the beginning of the last beat that succeeded', async () => {
    let beats = 0;
    // The second beat takes three seconds to succeed, and no later one does.
    const { clock, lostAtMs } = hold(async (now) => {
      beats += 1;
      if (beats === 1) return renew(now);
      if (beats > 2) return failing(now);
      const renewedAtMs = now.monotonicMs();
      await new Promise<void>((resolve) => now.setTimeout(resolve, 3_000));
      return { type: 'renewed', renewedAtMs };
    });
    await clock.advanceAsync(60_000);
    expect(lostAtMs()).toBe(2 * heartbeatMs + timeoutMs - heartbeatMs);
  });

  it('is lost at once when a beat finds another owner', async () => {
    const { clock, lostAtMs } = hold(() => Promise.resolve({ type: 'lost' }));
    await clock.advanceAsync(60_000);
    expect(lostAtMs()).toBe(heartbeatMs);
  });

  it('that is released beats no more and is not lost', async () => {
    const { clock, actor, beatsAtMs, lostAtMs } = hold(renew);
    await clock.advanceAsync(heartbeatMs);
    actor.send({ type: 'release' });
    await clock.advanceAsync(60_000);
    expect(actor.getSnapshot()).toMatchObject({ value: 'released', status: 'done' });
    expect(beatsAtMs).toHaveLength(1);
    expect(lostAtMs()).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });
});
