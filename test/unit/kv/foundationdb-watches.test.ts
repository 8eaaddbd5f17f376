import { beforeEach, describe, expect, it } from 'vitest';
import type { DriverWatches, Seen, WatchHub } from '../../../src/kv/foundationdb/watches.ts';
import { createWatchHub } from '../../../src/kv/foundationdb/watches.ts';
import { limits } from '../../../src/limits.ts';
import type { VirtualClock } from '../../rig/virtual-clock.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

/** A native watch of the client, which the test ends. */
interface Native {
  end(changed: boolean): void;
  fail(error: Error): void;
  isCanceled: boolean;
}

let clock: VirtualClock;
let hub: WatchHub;
let watches: DriverWatches;
let natives: Native[];
beforeEach(() => {
  clock = createVirtualClock();
  hub = createWatchHub(clock);
  watches = hub.join();
  natives = [];
});

const key = Buffer.from('key');
const saw = (value: string | undefined): Seen =>
  Promise.resolve(value === undefined ? undefined : Buffer.from(value));
const arm = () => {
  let [end, fail] = [(_: boolean) => undefined as void, (_: Error) => undefined as void];
  const promise = new Promise<boolean>((resolve, reject) => {
    [end, fail] = [resolve, reject];
  });
  const native: Native = { end, fail, isCanceled: false };
  natives.push(native);
  const cancel = () => {
    native.isCanceled = true;
    end(false);
  };
  return { promise, cancel };
};
const begin = (value: string | undefined, of = watches) => of.create(key, saw(value), arm);
const watch = async (value: string | undefined, of = watches) => {
  const pending = begin(value, of);
  await pending.prepare();
  pending.committed();
  return pending.watch;
};
const answerOf = (changed: Promise<boolean>): Promise<boolean | 'waiting'> =>
  Promise.race([changed, new Promise<'waiting'>((resolve) => setImmediate(() => resolve('waiting')))]);

describe('native watches', () => {
  it('are one for all who saw the same value', async () => {
    const [first, second, third] = [await watch('1'), await watch('1'), await watch('1', hub.join())];
    expect(natives).toHaveLength(1);
    expect(hub.used).toBe(1);
    natives[0]?.end(true);
    expect(await Promise.all([first.changed, second.changed, third.changed])).toEqual([true, true, true]);
    expect(await answerOf((await watch('1')).changed)).toBe('waiting');
    expect(natives).toHaveLength(2);
  });

  it('are another one for whoever saw another value: what the first one compares with says nothing to it', async () => {
    const [first, newer, absent] = [await watch('1'), await watch('2'), await watch(undefined)];
    expect(natives).toHaveLength(3);
    natives[1]?.end(true);
    expect(await newer.changed).toBe(true);
    expect([await answerOf(first.changed), await answerOf(absent.changed)]).toEqual(['waiting', 'waiting']);
  });

  it('are not shared before their transaction has committed', async () => {
    const undecided = begin('1');
    await undecided.prepare();
    const other = await watch('1');
    undecided.drop();
    expect(await undecided.watch.changed).toBe(false);
    expect(natives.map(({ isCanceled }) => isCanceled)).toEqual([true, false]);
    expect(await answerOf(other.changed)).toBe('waiting');
    natives[1]?.end(true);
    expect(await other.changed).toBe(true);
  });

  it('that were armed at the same time become one', async () => {
    const [one, other] = [begin('1'), begin('1')];
    await Promise.all([one.prepare(), other.prepare()]);
    one.committed();
    other.committed();
    expect(natives.map(({ isCanceled }) => isCanceled)).toEqual([false, true]);
    natives[0]?.end(true);
    expect(await Promise.all([one.watch.changed, other.watch.changed])).toEqual([true, true]);
  });

  it('are not shared where the transaction wrote after it had asked, or the value is not known yet', async () => {
    await watch('1');
    const early = begin('1');
    early.armNow();
    await early.prepare();
    early.committed();
    const unreadable = watches.create(key, Promise.reject(new Error('1036')), arm);
    await unreadable.prepare();
    unreadable.committed();
    expect(natives).toHaveLength(3);
  });

  it('end when nobody waits for them any more, and not before', async () => {
    const [first, second] = [await watch('1'), await watch('1')];
    first.cancel();
    expect(await first.changed).toBe(false);
    expect(natives[0]?.isCanceled).toBe(false);
    second.cancel();
    expect(natives[0]?.isCanceled).toBe(true);
    await answerOf(second.changed);
    expect(hub.used).toBe(0);
  });

  it('of a port that is closed leave those of others alone', async () => {
    const other = hub.join();
    const [own, others] = [await watch('1'), await watch('1', other)];
    watches.cancelAll();
    expect(await own.changed).toBe(false);
    natives[0]?.end(true);
    expect(await others.changed).toBe(true);
  });
});

describe('in place of a native watch', () => {
  const expectPoll = async (changed: Promise<boolean>) => {
    expect(await answerOf(changed)).toBe('waiting');
    await clock.advanceAsync(999);
    expect(await answerOf(changed)).toBe('waiting');
    await clock.advanceAsync(1);
    expect(await changed).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  };

  it('the clock wakes those for whom there is no room', async () => {
    const many = limits.database.driverWatches.value;
    for (let n = 0; n < many; n += 1) await watch(String(n));
    expect(hub.used).toBe(many);
    const oneMore = await watch('one more');
    expect(natives).toHaveLength(many);
    await expectPoll(oneMore.changed);
    const shared = await watch('0');
    natives[0]?.end(true);
    expect(await shared.changed).toBe(true);
    await answerOf(shared.changed);
    await watch('room again');
    expect(natives).toHaveLength(many + 1);
  });

  it('the clock wakes those whose watch the client refused or lost: at once would be a loop', async () => {
    const [refused, beside] = [await watch('1'), await watch('1')];
    natives[0]?.fail(new Error('1032'));
    await expectPoll(refused.changed);
    expect(await beside.changed).toBe(true);
    const lost = await watch('2');
    natives[1]?.end(false);
    await expectPoll(lost.changed);
    const thrown = watches.create(key, saw('3'), () => {
      throw new Error('no');
    });
    await thrown.prepare();
    thrown.committed();
    await expectPoll(thrown.watch.changed);
    expect(hub.used).toBe(0);
  });

  it('nothing is left of one that was canceled', async () => {
    const refused = await watch('1');
    natives[0]?.fail(new Error('1032'));
    await answerOf(refused.changed);
    expect(clock.pendingTimers).toBe(1);
    refused.cancel();
    expect(await refused.changed).toBe(false);
    expect(clock.pendingTimers).toBe(0);
  });
});
