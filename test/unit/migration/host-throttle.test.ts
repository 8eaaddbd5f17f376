import { beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.ts';
import type { MigrationThrottleFunction } from '../../../src/migration/host-throttle.ts';
import { createHostThrottle } from '../../../src/migration/host-throttle.ts';
import { silentLogger } from '../../../src/telemetry/logger.ts';
import type { VirtualClock } from '../../rig/virtual-clock.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const longestMs = limits.migration.throttleMs.value;
const chunk = { modelId: 1, modelName: 'City', pass: 'backfill', records: 10, bytes: 1_000 } as const;

let clock: VirtualClock;
beforeEach(() => {
  clock = createVirtualClock();
});

/** A function of a host that gives these answers one after the other, then lets everything go on. */
function createHost(...answers: readonly unknown[]) {
  const asked: unknown[] = [];
  const reasons: string[] = [];
  const warnings: string[] = [];
  let swallowed = 0;
  const ask = ((about: unknown) => {
    const answer = answers[asked.length];
    asked.push(about);
    return typeof answer === 'function' ? (answer as () => unknown)() : answer;
  }) as MigrationThrottleFunction;
  const throttle = createHostThrottle({
    clock,
    ask,
    logger: {
      ...silentLogger,
      warn: (_about: unknown, text?: unknown) => void warnings.push(String(text)),
    },
    meters: { swallowed: () => void (swallowed += 1) },
  });
  const stopping = new AbortController();
  /** For how long a chunk waits; undefined: longer than an hour. */
  const waitMs = async (): Promise<number | undefined> => {
    const startedMs = clock.monotonicMs();
    let tookMs: number | undefined;
    void throttle
      .wait(chunk, stopping.signal, (reason) => void reasons.push(reason))
      .then(() => {
        tookMs = clock.monotonicMs() - startedMs;
      });
    await clock.advanceAsync(3_600_000);
    return tookMs;
  };
  return {
    asked,
    reasons,
    warnings,
    stopping,
    waitMs,
    throttle,
    get swallowed() {
      return swallowed;
    },
  };
}

describe('migrationThrottle', () => {
  it('is asked about each chunk, and may let it go on', async () => {
    const host = createHost(undefined, Promise.resolve(undefined), { delayMs: 0, reason: 'none' });
    expect([await host.waitMs(), await host.waitMs(), await host.waitMs()]).toEqual([0, 0, 0]);
    expect(host.asked).toEqual([chunk, chunk, chunk]);
    expect(host.swallowed).toBe(0);
  });

  it('holds a chunk for as long as it says, and says why', async () => {
    const host = createHost({ delayMs: 1_500, reason: 'busy hour' });
    expect(await host.waitMs()).toBe(1_500);
    expect(host.reasons.at(-1)).toBe('migrationThrottle: busy hour');
    expect(host.asked).toHaveLength(1);
  });

  it.each([longestMs, longestMs + 1, Number.POSITIVE_INFINITY])(
    'is asked again where it wants %d ms and may have fewer',
    async (delayMs) => {
      const host = createHost({ delayMs, reason: 'night' }, { delayMs: 10, reason: 'dawn' });
      const isAskedAgain = delayMs > longestMs;
      expect(await host.waitMs()).toBe(isAskedAgain ? longestMs + 10 : longestMs);
      expect(host.asked).toHaveLength(isAskedAgain ? 2 : 1);
    },
  );

  it.each([
    ['a delay below 0', { delayMs: -1, reason: 'x' }],
    ['no number', { delayMs: Number.NaN, reason: 'x' }],
    ['no delay', { reason: 'x' }],
    ['no reason', { delayMs: 60_000 }],
    ['a text', '60'],
    ['null', null],
    [
      'an error that is thrown',
      () => {
        throw new Error('broken');
      },
    ],
    ['an error that is rejected', () => Promise.reject(new Error('broken'))],
  ])('is ignored, counted and logged once where it answers %s', async (_what, answer) => {
    const host = createHost(answer, answer, answer);
    expect([await host.waitMs(), await host.waitMs(), await host.waitMs()]).toEqual([0, 0, 0]);
    expect(host.swallowed).toBe(3);
    expect(host.warnings).toHaveLength(1);
    expect(host.warnings[0]).toMatch(/^migrationThrottle .* logged once$/);
  });

  it('is waited for no longer than the longest delay', async () => {
    const host = createHost(new Promise(() => undefined));
    expect(await host.waitMs()).toBe(longestMs);
    expect(host.swallowed).toBe(1);
  });

  it.each([
    ['holds', { delayMs: Number.POSITIVE_INFINITY, reason: 'x' }],
    ['thinks', new Promise(() => undefined)],
  ])('holds nobody who is told to stop while it %s', async (_what, answer) => {
    const host = createHost(answer);
    let isOver = false;
    const waiting = host.throttle.wait(chunk, host.stopping.signal, () => undefined);
    void waiting.then(() => {
      isOver = true;
    });
    await clock.advanceAsync(1_000);
    expect(isOver).toBe(false);
    host.stopping.abort();
    await clock.advanceAsync(0);
    expect(isOver).toBe(true);
    expect(host.swallowed).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});
