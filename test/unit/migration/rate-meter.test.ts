import { describe, expect, it } from 'vitest';
import { createRateMeter } from '../../../src/migration/passes/rate-meter.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

describe('the rate of a pass', () => {
  it('is what was committed in the time that has passed, from the first second on', () => {
    const clock = createVirtualClock();
    const meter = createRateMeter(clock);
    meter.begin();
    expect(meter.share()).toBe(0);
    for (let at = 0; at < 50; at += 1) {
      clock.advance(20);
      meter.moved(100);
    }
    expect(meter.share()).toBeGreaterThan(4_900);
    expect(meter.share()).toBeLessThan(5_100);
  });

  it('counts the time in which nothing is committed', () => {
    const clock = createVirtualClock();
    const meter = createRateMeter(clock);
    meter.begin();
    clock.advance(1_000);
    meter.moved(1_000);
    const before = meter.share();
    clock.advance(2_000);
    expect(meter.share()).toBeLessThan(before / 2);
  });

  it('is divided among the ranges that are being moved', () => {
    const clock = createVirtualClock();
    const meter = createRateMeter(clock);
    const endFirst = meter.begin();
    meter.begin();
    clock.advance(1_000);
    meter.moved(1_000);
    const half = meter.share();
    endFirst();
    expect(meter.share()).toBeCloseTo(2 * half);
  });
});
