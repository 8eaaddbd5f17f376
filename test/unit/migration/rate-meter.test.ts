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
    const first = meter.begin();
    meter.begin();
    clock.advance(1_000);
    meter.moved(1_000);
    const half = meter.share();
    first.end();
    expect(meter.share()).toBeCloseTo(2 * half);
  });
});

describe('the time of a range', () => {
  it('is divided equally among those that are moved side by side, and all of it is given out', () => {
    const clock = createVirtualClock();
    const meter = createRateMeter(clock);
    const first = meter.begin();
    first.committed();
    clock.advance(100);
    const second = meter.begin();
    clock.advance(200);
    expect(first.sharedMs()).toBe(200);
    expect(second.sharedMs()).toBe(100);
    second.committed();
    second.end();
    clock.advance(50);
    expect(first.sharedMs()).toBe(250);
  });

  it('begins anew with each commit', () => {
    const clock = createVirtualClock();
    const range = createRateMeter(clock).begin();
    range.committed();
    clock.advance(70);
    range.committed();
    expect(range.sharedMs()).toBe(0);
    clock.advance(30);
    expect(range.sharedMs()).toBe(30);
  });

  it('is unknown for what was under way when the process committed for the first time', () => {
    const clock = createVirtualClock();
    const meter = createRateMeter(clock);
    const [first, second] = [meter.begin(), meter.begin()];
    clock.advance(500);
    expect(first.sharedMs()).toBeUndefined();
    first.committed();
    clock.advance(10);
    expect(second.sharedMs()).toBeUndefined();
    second.committed();
    clock.advance(10);
    expect(second.sharedMs()).toBe(5);
  });
});
