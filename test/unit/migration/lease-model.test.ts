import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import type { KeyValueDatabase, KeyValueTransaction } from '../../../src/kv/kv.ts';
import { KeyValueError, KeyValueErrorCode } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import type { LeaseHandle, MigrationLease } from '../../../src/migration/lease.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';
import { createDefaultLease } from '../../rig/leases.ts';
import { withTransactions } from '../../rig/overriding.ts';
import { drawSeed } from '../../rig/seed.ts';
import type { VirtualClock } from '../../rig/virtual-clock.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const timeoutMs = 1_000;
const heartbeatMs = 250;
const nodes = 3;
const modelId = 1;

/** What happens to one of the nodes, or to time. */
type Happening =
  | { readonly is: 'acquire' | 'release' | 'forceRelease'; readonly node: number }
  /** Whoever believes to own it begins a transaction under the guard. */
  | { readonly is: 'begin' }
  /** One that was begun earlier is sent; in between anything may have happened. */
  | { readonly is: 'commit'; readonly node: number }
  /** As by SIGSTOP and SIGCONT: its timers stand still, its clock does not. */
  | { readonly is: 'stop' | 'resume'; readonly node: number }
  /** Its next heartbeats fail. */
  | { readonly is: 'miss'; readonly node: number; readonly beats: number }
  | { readonly is: 'wait'; readonly milliseconds: number };

interface Node {
  readonly clock: VirtualClock;
  readonly speed: number;
  readonly lease: MigrationLease;
  readonly pending: KeyValueTransaction[];
  handle: LeaseHandle | undefined;
  /** It asks for the lease again with each heartbeat. */
  isWaiting: boolean;
  isStopped: boolean;
  /** By which its clock is ahead of its timers. */
  owedMs: number;
  missing: number;
  /** Time passes for it: whatever reaches the database is a heartbeat. */
  isBeating: boolean;
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const marks = Buffer.from('mark/');
const seen = { takeovers: 0, refused: 0, commits: 0, fenced: 0, deposed: 0 };

/** Carries out what happens, in order; answers the epochs of all commits in the order of the database. */
async function play(speeds: readonly number[], happenings: readonly Happening[]): Promise<History> {
  const time = createVirtualClock();
  const database = openMemoryDatabase({ clock: time });
  const all = speeds.map((speed, n) => createNode(database, n, speed));
  const grants: Grant[] = [];
  for (const happening of happenings) await carryOut(happening, { time, database, all, grants });
  for (const node of all) await node.handle?.release();
  const rows = await database.transact((tx) => tx.getRangeAll(marks, Buffer.from('mark0')));
  await database.close();
  return { grants, epochs: rows.map(({ value }) => Number(value.toString())) };
}

interface Grant {
  readonly epoch: number;
  readonly takeover: boolean;
}

interface History {
  readonly grants: readonly Grant[];
  readonly epochs: readonly number[];
}

function createNode(database: KeyValueDatabase, n: number, speed: number): Node {
  const clock = createVirtualClock();
  const node: Node = {
    clock,
    speed,
    lease: createDefaultLease(
      {
        database: cutOff(database, () => node.isBeating && node.missing-- > 0),
        keys: createStoreKeys(['test']),
      },
      `node-${n}`,
      {
        clock,
        timeoutMs,
        heartbeatMs,
      },
    ),
    pending: [],
    handle: undefined,
    isWaiting: false,
    isStopped: false,
    owedMs: 0,
    missing: 0,
    isBeating: false,
  };
  return node;
}

/** A database that cannot be reached whenever `isGone` says so. */
function cutOff(database: KeyValueDatabase, isGone: () => boolean): KeyValueDatabase {
  const reached = withTransactions(database, (tx) => tx);
  return {
    ...reached,
    transact: (body, options) =>
      isGone()
        ? Promise.reject(new KeyValueError(KeyValueErrorCode.timedOut))
        : reached.transact(body, options),
  };
}

interface World {
  readonly time: VirtualClock;
  readonly database: KeyValueDatabase;
  readonly all: readonly Node[];
  readonly grants: Grant[];
}

async function carryOut(happening: Happening, world: World): Promise<void> {
  const { time, database, all, grants } = world;
  if (happening.is === 'wait') {
    for (let leftMs = happening.milliseconds; leftMs > 0; leftMs -= 50) {
      await time.advanceAsync(50);
      for (const node of all) {
        if (node.isStopped) node.owedMs += 50 * node.speed;
        else await pass(node, 50 * node.speed);
      }
      const waiting = all.filter(({ isWaiting, isStopped }) => isWaiting && !isStopped);
      if (leftMs % heartbeatMs === 0) for (const node of waiting) await acquire(node, grants);
    }
    return;
  }
  if (happening.is === 'begin') {
    for (const node of all) await begin(node, database);
    return;
  }
  const node = all[happening.node];
  if (node === undefined) throw new Error('there is no such node');
  if (node.handle?.lost.aborted === true && !node.isStopped && happening.is === 'acquire') {
    seen.deposed += 1;
    await node.handle.release();
    node.handle = undefined;
  }
  switch (happening.is) {
    case 'stop':
      node.isStopped = true;
      return;
    case 'resume':
      node.isStopped = false;
      await pass(node, node.owedMs);
      node.owedMs = 0;
      return;
    case 'miss':
      node.missing = happening.beats;
      return;
    case 'forceRelease':
      await node.lease.forceRelease?.({ modelId });
      return;
    case 'acquire':
      if (node.isStopped || node.handle !== undefined) return;
      return acquire(node, grants);
    case 'release':
      if (node.isStopped) return;
      await node.handle?.release();
      node.handle = undefined;
      return;
    case 'commit':
      return commit(node);
  }
}

async function pass(node: Node, milliseconds: number): Promise<void> {
  node.isBeating = true;
  await node.clock.advanceAsync(milliseconds);
  node.isBeating = false;
}

async function acquire(node: Node, grants: Grant[]): Promise<void> {
  const answer = await node.lease.acquire({
    modelId,
    migrationId: 'm',
    nodeId: 'n',
    signal: new AbortController().signal,
  });
  if (answer.refused === true) {
    seen.refused += 1;
    node.isWaiting = true;
    return;
  }
  node.isWaiting = false;
  node.handle = answer;
  grants.push({ epoch: answer.epoch, takeover: answer.takeover });
  if (answer.takeover) seen.takeovers += 1;
}

/** Also by an owner that should know better: the guard has to hold alone. */
async function begin({ handle, pending }: Node, database: KeyValueDatabase): Promise<void> {
  if (handle === undefined) return;
  const tx = database.createTransaction();
  try {
    await handle.guard(tx);
  } catch {
    seen.fenced += 1;
    return;
  }
  tx.setVersionstampedKey(Buffer.concat([marks, Buffer.alloc(10)]), marks.length, text(handle.epoch));
  pending.push(tx);
}

async function commit({ pending }: Node): Promise<void> {
  const tx = pending.shift();
  try {
    await tx?.commit();
    if (tx !== undefined) seen.commits += 1;
  } catch {
    seen.fenced += 1;
  }
  await settled();
}

const text = (value: number) => Buffer.from(String(value));

const anyNode = fc.integer({ min: 0, max: nodes - 1 });
const onNode = <const Is extends Happening['is']>(...is: Is[]) =>
  fc.record({ is: fc.constantFrom(...is), node: anyNode });
const anyWait = fc.record({
  is: fc.constant('wait' as const),
  milliseconds: fc.constantFrom(50, 100, 250, 500, 1_500, 2_500),
});
const anyHappening = fc.oneof(
  { weight: 8, arbitrary: onNode('acquire') },
  { weight: 5, arbitrary: fc.constant({ is: 'begin' as const }) },
  { weight: 8, arbitrary: onNode('commit') },
  { weight: 2, arbitrary: onNode('stop', 'resume', 'release') },
  { weight: 1, arbitrary: onNode('forceRelease') },
  {
    weight: 1,
    arbitrary: fc.record({
      is: fc.constant('miss' as const),
      node: anyNode,
      beats: fc.integer({ min: 1, max: 6 }),
    }),
  },
  { weight: 5, arbitrary: anyWait },
);
const anySpeeds = fc.array(fc.constantFrom(0.25, 0.9, 1, 1.1, 4), { minLength: nodes, maxLength: nodes });

describe('a lease, whatever is acquired, beaten, missed, stopped, released and taken in whatever order', () => {
  const seed = drawSeed('the lease against its model');
  const runs = { seed: seed | 0, numRuns: 100 };
  afterAll(() => {
    process.stdout.write(`the lease against its model: ${JSON.stringify(seen)}\n`);
  });

  it('never lets an epoch commit after a later one has, with clocks of any speed', async () => {
    await fc.assert(
      fc.asyncProperty(
        anySpeeds,
        fc.array(anyHappening, { minLength: 20, maxLength: 80, size: 'max' }),
        async (speeds, happenings) => {
          const { grants, epochs } = await play(speeds, happenings);
          expect(epochs).toEqual(epochs.toSorted((a, b) => a - b));
          const granted = grants.map(({ epoch }) => epoch);
          expect(granted).toEqual([...new Set(granted)].toSorted((a, b) => a - b));
          expect(granted).toEqual(expect.arrayContaining([...new Set(epochs)]));
        },
      ),
      runs,
    );
    // Otherwise nothing was tried.
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(0);
  });

  it('is taken from no owner that beats, however often those who want it are stopped or cut off', async () => {
    const contender = fc.integer({ min: 1, max: nodes - 1 });
    const contending = fc.oneof(
      fc.record({ is: fc.constantFrom('acquire', 'stop', 'resume'), node: contender }),
      anyWait,
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(contending, { minLength: 20, maxLength: 60, size: 'max' }),
        async (happenings) => {
          const first = { is: 'acquire', node: 0 } as const;
          const { grants } = await play([1, 1, 1], [first, ...happenings]);
          expect(grants).toEqual([{ epoch: 1, takeover: false }]);
        },
      ),
      runs,
    );
  });
});
