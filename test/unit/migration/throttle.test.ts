import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase, Transaction, TransactOptions } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { createSessions } from '../../../src/migration/sessions.ts';
import { createRateLimit } from '../../../src/migration/throttle.ts';
import { eitherOf } from '../../../src/migration/watch.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';
import { createSeededRandom, drawSeed } from '../../rig/seed.ts';
import type { VirtualClock } from '../../rig/virtual-clock.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const keys = createStoreKeys(['test']);
const recordsPerSecond = 100;

let clock: VirtualClock;
let database: KeyValueDatabase;
beforeEach(() => {
  clock = createVirtualClock();
  database = openMemoryDatabase({ clock });
});
afterEach(() => database.close());

/** A chunk that was let through. */
interface Passed {
  readonly atMs: number;
  readonly node: string;
  readonly records: number;
}

interface NodeOptions {
  readonly limit?: number;
  readonly chunk?: number;
  readonly ttlMs?: number;
  readonly heartbeatMs?: number;
  /** Before and after each transaction, milliseconds. */
  readonly latencyMs?: () => number;
}

const never = new Promise<never>(() => undefined);

/** Processes that move as much as they may, on one database and one time. */
function createCluster() {
  const passed: Passed[] = [];
  const failures: unknown[] = [];

  const start = (
    node: string,
    {
      limit = recordsPerSecond,
      chunk = 10,
      ttlMs = 1_000,
      heartbeatMs = 250,
      latencyMs = () => 0,
    }: NodeOptions = {},
  ) => {
    let isDead = false;
    let isToComeAgain = false;
    const later = async () => {
      const ms = latencyMs();
      if (ms > 0) await eitherOf(clock, [], ms, new AbortController().signal);
      if (isDead) await never;
    };
    const mortal = {
      async transact<T>(body: (tx: Transaction) => Promise<T>, options?: TransactOptions) {
        await later();
        const result = await database.transact(body, options);
        await later();
        return result;
      },
    } as KeyValueDatabase;
    const onFailure = (error: unknown) => void failures.push(error);
    const sessions = createSessions({
      database: mortal,
      keys,
      clock,
      session: node,
      nodeId: node,
      ttlMs,
      heartbeatMs,
      process: {
        identity: { host: 'host', pid: 1, bootId: '', pidNamespace: '', startTime: '' },
        sessions: new Set([node]),
        isCertainlyDead: () => false,
      },
      onFailure,
    });
    const rate = createRateLimit({
      clock,
      recordsPerSecond: limit,
      sessions,
      ttlMs,
      heartbeatMs,
      onFailure,
    });
    const stopping = new AbortController();
    /** For as long as one pass of a migration. */
    const move = async () => {
      const held = sessions.hold('helper');
      await mortal.transact((tx) => sessions.announce(tx));
      const { signal } = stopping;
      for (isToComeAgain = false; !signal.aborted && !isToComeAgain;) {
        await rate.take(chunk, signal, () => undefined);
        if (signal.aborted || isDead) break;
        passed.push({ atMs: clock.monotonicMs(), node, records: chunk });
      }
      await held.letGo();
    };
    const run = async () => {
      while (!stopping.signal.aborted) await move();
    };
    void run();
    return {
      stop: () => stopping.abort(),
      /** Leaves behind its next chunk, and comes at once. */
      comeAgain() {
        isToComeAgain = true;
      },
      die() {
        isDead = true;
      },
    };
  };
  return { passed, failures, start };
}

/** The most that any span of time had above the limit, less one chunk of each process that moved in it. */
function worstExcess(passed: readonly Passed[], limit = recordsPerSecond): number {
  let worst = Number.NEGATIVE_INFINITY;
  for (let from = 0; from < passed.length; from += 1) {
    let sum = 0;
    const chunks = new Map<string, number>();
    for (let to = from; to < passed.length; to += 1) {
      const { node, records, atMs } = passed[to] as Passed;
      sum += records;
      chunks.set(node, Math.max(chunks.get(node) ?? 0, records));
      const granted = (limit * (atMs - (passed[from] as Passed).atMs)) / 1_000;
      const bursts = [...chunks.values()].reduce((all, one) => all + one, 0);
      worst = Math.max(worst, sum - granted - bursts);
    }
  }
  return worst;
}

const recordsIn = (passed: readonly Passed[], fromMs: number, toMs: number, node?: string) =>
  passed
    .filter((one) => one.atMs >= fromMs && one.atMs < toMs && (node ?? one.node) === one.node)
    .reduce((sum, { records }) => sum + records, 0);

describe('a limit in records per second', () => {
  it('is kept by one process, which begins at once and has all of it', async () => {
    const { passed, start } = createCluster();
    const { stop } = start('a');
    await clock.advanceAsync(5_000);
    stop();
    expect(passed[0]?.atMs).toBe(0);
    expect(worstExcess(passed)).toBeLessThanOrEqual(0.001);
    expect(recordsIn(passed, 0, 5_000)).toBeGreaterThanOrEqual(490);
  });

  it('is shared by three, and none of it is lost for good', async () => {
    const { passed, start } = createCluster();
    const nodes = ['a', 'b', 'c'].map((node) => start(node));
    await clock.advanceAsync(10_000);
    nodes.forEach(({ stop }) => stop());
    expect(worstExcess(passed)).toBeLessThanOrEqual(0.001);
    expect(recordsIn(passed, 5_000, 10_000)).toBeGreaterThanOrEqual(450);
    for (const node of ['a', 'b', 'c']) {
      expect(recordsIn(passed, 5_000, 10_000, node)).toBeGreaterThanOrEqual(140);
    }
  });

  it('is not passed by one that comes: it waits until the others must have counted it', async () => {
    const { passed, start } = createCluster();
    const first = start('first', { ttlMs: 3_000, heartbeatMs: 1_000 });
    await clock.advanceAsync(2_100);
    const second = start('second');
    await clock.advanceAsync(6_000);
    [first, second].forEach(({ stop }) => stop());
    // Half of the longest TTL there is.
    const begins = passed.find(({ node }) => node === 'second')?.atMs ?? 0;
    expect(begins).toBeGreaterThanOrEqual(2_100 + 1_500);
    expect(begins).toBeLessThan(2_100 + 1_500 + 250);
    expect(worstExcess(passed)).toBeLessThanOrEqual(0.001);
  });

  it('is all of one again when the others have left, and when one has died and is judged over', async () => {
    const { passed, start } = createCluster();
    const stays = start('stays');
    const leaves = start('leaves');
    const dies = start('dies');
    await clock.advanceAsync(4_000);
    dies.die();
    leaves.stop();
    await clock.advanceAsync(600);
    const half = recordsIn(passed, 4_600, 5_000, 'stays');
    await clock.advanceAsync(400);
    expect(half).toBe(0);
    // Of the dead one nobody knows yet.
    expect(recordsIn(passed, 4_300, 5_000, 'stays')).toBeLessThanOrEqual(50);
    await clock.advanceAsync(5_000);
    stays.stop();
    expect(recordsIn(passed, 6_000, 10_000, 'stays')).toBeGreaterThanOrEqual(390);
    expect(worstExcess(passed)).toBeLessThanOrEqual(0.001);
  });

  it('lets nothing through while those who move cannot be counted', async () => {
    const { passed, start, failures } = createCluster();
    let latencyMs = 0;
    const { stop } = start('a', { latencyMs: () => latencyMs });
    await clock.advanceAsync(1_000);
    latencyMs = 60_000;
    await clock.advanceAsync(10_000);
    stop();
    // What was counted last was good for half a TTL.
    expect(recordsIn(passed, 1_800, 11_000)).toBe(0);
    expect(failures).toEqual([]);
  });

  it('is not passed by one that leaves and comes at once, for another model', async () => {
    const { passed, start } = createCluster();
    const [stays, comes] = [start('stays'), start('comes', { latencyMs: () => 40 })];
    for (let round = 0; round < 10; round += 1) {
      await clock.advanceAsync(1_130);
      comes.comeAgain();
    }
    [stays, comes].forEach(({ stop }) => stop());
    expect(recordsIn(passed, 0, 20_000, 'comes')).toBeGreaterThan(100);
    expect(worstExcess(passed)).toBeLessThanOrEqual(0.001);
  });

  it('of a process that has another one is divided in the same way', async () => {
    const { passed, start } = createCluster();
    const nodes = [start('fast', { limit: 200 }), start('slow', { limit: 50 })];
    await clock.advanceAsync(10_000);
    nodes.forEach(({ stop }) => stop());
    const [fast, slow] = ['fast', 'slow'].map((node) => recordsIn(passed, 2_000, 10_000, node));
    expect(fast).toBeGreaterThanOrEqual(780);
    expect(fast).toBeLessThanOrEqual(810);
    expect(slow).toBeGreaterThanOrEqual(180);
    expect(slow).toBeLessThanOrEqual(210);
  });

  it('is never passed, whoever comes, leaves or dies, and however slow the database is', async () => {
    const random = createSeededRandom(drawSeed('processes that share a limit'));
    for (let round = 0; round < 4; round += 1) {
      const { passed, start } = createCluster();
      const living: ReturnType<typeof start>[] = [];
      const slowness = random.pick([0, 20, 150]);
      const began = clock.monotonicMs();
      const stays = start(`${round}-stays`);
      for (let event = 0; event < 14; event += 1) {
        const what =
          living.length === 0 ? 'come' : random.pick(['come', 'come', 'leave', 'again', 'again', 'die']);
        const at = random.below(Math.max(1, living.length));
        if (what === 'come' && living.length < 5) {
          const ttlMs = random.pick([1_000, 2_000]);
          living.push(
            start(`${round}-${event}`, {
              chunk: 5 + random.below(30),
              ttlMs,
              heartbeatMs: ttlMs / random.pick([3, 4, 10]),
              latencyMs: () => (slowness === 0 ? 0 : random.below(slowness)),
            }),
          );
        }
        if (what === 'leave') living.splice(at, 1)[0]?.stop();
        if (what === 'again') living[at]?.comeAgain();
        if (what === 'die') living.splice(at, 1)[0]?.die();
        await clock.advanceAsync(random.below(2_500));
      }
      [stays, ...living].forEach(({ stop }) => stop());
      await clock.advanceAsync(3_000);
      expect(worstExcess(passed.filter(({ atMs }) => atMs >= began))).toBeLessThanOrEqual(0.001);
      expect(passed.length).toBeGreaterThan(20);
    }
  });

  it('tells how long so many records take at least, by the number of those who move', async () => {
    const rate = createRateLimit({
      clock,
      recordsPerSecond,
      sessions: { arrival: () => 1, living: () => Promise.resolve({ arrival: 1, othersTtlMs: [1_000] }) },
      ttlMs: 1_000,
      heartbeatMs: 250,
      onFailure: () => undefined,
    });
    expect(rate.leastMs(50)).toBe(500);
    void rate.take(1, new AbortController().signal, () => undefined);
    await clock.advanceAsync(1_000);
    expect(rate.leastMs(50)).toBe(1_000);
  });

  it('ends the wait of whoever is told to stop, also behind others, and takes nothing for it', async () => {
    const sessions = { arrival: () => 1, living: () => Promise.resolve({ arrival: 1, othersTtlMs: [] }) };
    const onFailure = () => undefined;
    const rate = createRateLimit({
      clock,
      recordsPerSecond,
      sessions,
      ttlMs: 1_000,
      heartbeatMs: 250,
      onFailure,
    });
    const ended: string[] = [];
    const take = (name: string, records: number) => {
      const stopping = new AbortController();
      const reasons: string[] = [];
      const onWait = (reason: string) => void reasons.push(reason);
      void rate.take(records, stopping.signal, onWait).then(() => ended.push(name));
      return { stopping, reasons };
    };
    take('first', 1_000);
    await clock.advanceAsync(100);
    const [second, third, fourth] = [take('second', 1_000), take('third', 1_000), take('fourth', 1)];
    await clock.advanceAsync(100);
    expect(ended).toEqual(['first']);
    expect([second, third, fourth].map(({ reasons }) => reasons)).toEqual(
      Array.from({ length: 3 }, () => ['at most 100 records per second']),
    );
    third.stopping.abort();
    await clock.advanceAsync(0);
    expect(ended).toEqual(['first', 'third']);
    second.stopping.abort();
    await clock.advanceAsync(9_799);
    expect(ended).toEqual(['first', 'third', 'second']);
    await clock.advanceAsync(1);
    expect(ended).toEqual(['first', 'third', 'second', 'fourth']);
  });
});
