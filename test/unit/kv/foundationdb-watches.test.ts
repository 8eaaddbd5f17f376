import { beforeEach, describe, expect, it } from 'vitest';
import type { Watch } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { openDatabase } from '../../../src/kv/open.ts';
import type { DriverWatches, Seen, WatchHub } from '../../../src/kv/foundationdb/watches.ts';
import { createWatchHub } from '../../../src/kv/foundationdb/watches.ts';
import { limits } from '../../../src/limits.ts';
import { createFakeFoundationDB } from '../../rig/fake-foundationdb.ts';
import { createSeededRandom, drawSeed } from '../../rig/seed.ts';
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

describe('whoever waits', () => {
  const seed = drawSeed('shared watches');

  it('is told once the value is not what its transaction saw, whoever else waits for the key, and since when', async () => {
    const random = createSeededRandom(seed);
    // No transaction grows old, however slow the machine is.
    const memory = openMemoryDatabase({ clock });
    const fake = createFakeFoundationDB(memory);
    const host = fake.open();
    const ports = [await openDatabase(host), await openDatabase(host)];
    const names = ['a', 'b'].map((name) => Buffer.from(name));
    // Few of them, so that values come back and are seen by several.
    const values = [undefined, '1', '2', '3'].map((text) => (text === undefined ? text : Buffer.from(text)));
    interface Waiting {
      readonly name: Buffer;
      readonly seen: Buffer | undefined;
      readonly watch: Watch;
      isTold: boolean;
    }
    const waiting = new Set<Waiting>();
    let [committed, told] = [0, 0];
    const begun: (() => Promise<void>)[] = [];
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    for (let step = 0; step < 1_500; step += 1) {
      const name = random.pick(names);
      switch (random.pick(['change', 'begin', 'begin', 'begin', 'end', 'end', 'end', 'cancel'])) {
        case 'change': {
          const value = random.pick(values);
          await memory.transact(async (tx) => (value === undefined ? tx.clear(name) : tx.set(name, value)));
          break;
        }
        case 'begin': {
          // Reads now, and is committed some steps later, or not at all.
          const tx = random.pick(ports).createTransaction();
          const seen = await tx.get(name, { snapshot: true });
          const watch = tx.watch(name);
          const commits = random.below(5) > 0;
          begun.push(async () => {
            if (!commits) return tx.cancel();
            await tx.commit();
            committed += 1;
            const one: Waiting = { name, seen, watch, isTold: false };
            waiting.add(one);
            void watch.changed.then(() => {
              one.isTold = true;
            });
            return undefined;
          });
          break;
        }
        case 'end':
          await begun.splice(random.below(begun.length), 1)[0]?.();
          break;
        default: {
          const [first] = waiting;
          if (random.below(4) > 0 || first === undefined) break;
          waiting.delete(first);
          first.watch.cancel();
        }
      }
      await settle();
      for (const one of waiting) {
        const current = await memory.transact((tx) => tx.get(one.name));
        const isSame = Buffer.compare(current ?? Buffer.of(), one.seen ?? Buffer.of()) === 0;
        if (!isSame) expect({ step, isTold: one.isTold }).toEqual({ step, isTold: true });
        if (!one.isTold) continue;
        told += 1;
        waiting.delete(one);
      }
    }
    expect(told).toBeGreaterThan(50);
    expect(fake.watches.armed).toBeLessThan(committed);
    for (const port of ports) await port.close();
    await settle();
    expect(fake.watches.out).toBe(0);
    await memory.close();
  });
});
