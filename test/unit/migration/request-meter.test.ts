import { describe, expect, it } from 'vitest';
import { createRequestMeter } from '../../../src/migration/request-meter.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const createMeter = () => {
  const clock = createVirtualClock();
  const others = { commits: 1_000 };
  const meter = createRequestMeter(clock, () => others.commits);
  const answer = (requests: number) => {
    for (let n = 0; n < requests; n += 1) meter.answered();
  };
  return { clock, others, meter, answer };
};

describe('requests come in', () => {
  it('from the fifth within a second on, until there was none for a second', () => {
    const { clock, meter, answer } = createMeter();
    answer(4);
    expect(meter.areComing()).toBe(false);
    answer(1);
    expect(meter.areComing()).toBe(true);
    clock.advance(1_000);
    expect(meter.areComing()).toBe(true);
    clock.advance(1_000);
    expect(meter.areComing()).toBe(false);
  });

  it('without an end where they go on', () => {
    const { clock, meter, answer } = createMeter();
    for (let second = 0; second < 10; second += 1) {
      answer(5);
      expect(meter.areComing()).toBe(true);
      clock.advance(1_000);
      expect(meter.areComing()).toBe(true);
    }
  });

  it('not where some came long ago, one at a time, or all before the last look', () => {
    const { clock, meter, answer } = createMeter();
    for (let second = 0; second < 10; second += 1) {
      answer(1);
      clock.advance(300);
      expect(meter.areComing()).toBe(false);
    }
    answer(5);
    clock.advance(2_000);
    expect(meter.areComing()).toBe(false);
  });

  it('to other processes, from two commits of theirs on, and none of before', () => {
    const { clock, others, meter } = createMeter();
    expect(meter.areComing()).toBe(false);
    others.commits += 1;
    expect(meter.areComing()).toBe(false);
    others.commits += 1;
    expect(meter.areComing()).toBe(true);
    clock.advance(1_000);
    expect(meter.areComing()).toBe(true);
    clock.advance(1_000);
    expect(meter.areComing()).toBe(false);
  });
});
