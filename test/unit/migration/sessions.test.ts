import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import type { Sessions } from '../../../src/migration/sessions.ts';
import { createSessions } from '../../../src/migration/sessions.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';
import { overriding, withTransactions } from '../../rig/overriding.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const [ttlMs, heartbeatMs] = [1_000, 250];
const keys = createStoreKeys(['test']);

let database: KeyValueDatabase;
beforeEach(() => {
  database = openMemoryDatabase();
});
afterEach(() => database.close());

/** Processes that certainly do not live any more, by session. */
const dead = new Set<string>();
afterEach(() => dead.clear());

/** A process with a clock of its own. */
function createNode(session: string, { seen = database, itsTtlMs = ttlMs } = {}) {
  const clock = createVirtualClock();
  const failures: unknown[] = [];
  const sessions = createSessions({
    database: seen,
    keys,
    clock,
    session,
    nodeId: `node ${session}`,
    ttlMs: itsTtlMs,
    heartbeatMs,
    process: {
      identity: { host: 'host', pid: 1, bootId: '', pidNamespace: '', startTime: '' },
      sessions: new Set([session]),
      isCertainlyDead: (_holder, other) => dead.has(other),
    },
    onFailure: (error) => failures.push(error),
  });
  return { session, clock, sessions, failures };
}

type Node = ReturnType<typeof createNode>;

const announce = ({ sessions }: Pick<Node, 'sessions'>) => database.transact((tx) => sessions.announce(tx));
const isOver = (sessions: Pick<Sessions, 'isOver'>, session: string) =>
  database.transact((tx) => sessions.isOver(tx, session));
const rowOf = async (session: string) => {
  const bytes = await database.transact((tx) => tx.get(keys.session(session)));
  return bytes === undefined ? undefined : (JSON.parse(bytes.toString()) as { readonly n: number });
};

/** Looks with every heartbeat; answers for how long it had to until the session was over, by its own clock. */
async function watchUntilOver({ clock, sessions }: Node, session: string): Promise<number> {
  const beganAtMs = clock.monotonicMs();
  while (!(await isOver(sessions, session))) clock.advance(heartbeatMs);
  return clock.monotonicMs() - beganAtMs;
}

describe('a session', () => {
  it('lives as long as it beats, however long it is watched', async () => {
    const [mover, watcher] = [createNode('mover'), createNode('watcher')];
    const held = mover.sessions.hold('helper');
    await announce(mover);
    for (let look = 0; look < 30; look += 1) {
      await mover.clock.advanceAsync(heartbeatMs);
      watcher.clock.advance(heartbeatMs);
      expect(await isOver(watcher.sessions, 'mover')).toBe(false);
    }
    expect(await rowOf('mover')).toMatchObject({ n: 31 });
    await held.letGo();
  });

  it.each([
    { its: 1_000, own: 1_000, watched: 1_000 },
    { its: 3_000, own: 1_000, watched: 3_000 },
    { its: 1_000, own: 3_000, watched: 3_000 },
  ])(
    'is over once it was watched in silence for $watched ms, where it has $its and the watcher $own',
    async ({ its, own, watched }) => {
      await announce(createNode('mover', { itsTtlMs: its }));
      expect(await watchUntilOver(createNode('watcher', { itsTtlMs: own }), 'mover')).toBe(watched);
    },
  );

  it('is not over for time in which the watcher stood still itself', async () => {
    await announce(createNode('mover'));
    const watcher = createNode('watcher');
    await isOver(watcher.sessions, 'mover');
    watcher.clock.advance(60_000);
    expect(await isOver(watcher.sessions, 'mover')).toBe(false);
    // Two beats were granted for it.
    expect(await watchUntilOver(watcher, 'mover')).toBe(ttlMs - 2 * heartbeatMs);
  });

  it('is over at once where its process is dead for certain, and never for itself', async () => {
    await announce(createNode('mover'));
    dead.add('mover').add('watcher');
    const watcher = createNode('watcher');
    await announce(watcher);
    expect(await isOver(watcher.sessions, 'mover')).toBe(true);
    expect(await isOver(watcher.sessions, 'watcher')).toBe(false);
  });

  it('is over without a row', async () => {
    expect(await isOver(createNode('watcher').sessions, 'mover')).toBe(true);
  });
});

describe('a session that is presumed over', () => {
  it('is so at once, and lives again with its next beat', async () => {
    const [mover, watcher] = [createNode('mover'), createNode('watcher')];
    const held = mover.sessions.hold('helper');
    await announce(mover);
    watcher.sessions.presumeOver('mover');
    expect(await isOver(watcher.sessions, 'mover')).toBe(true);
    expect(await isOver(watcher.sessions, 'mover')).toBe(true);
    await mover.clock.advanceAsync(heartbeatMs);
    expect(await isOver(watcher.sessions, 'mover')).toBe(false);
    await mover.clock.advanceAsync(heartbeatMs);
    expect(await isOver(watcher.sessions, 'mover')).toBe(false);
    await held.letGo();
  });

  it('is never the own one', async () => {
    const watcher = createNode('watcher');
    await announce(watcher);
    watcher.sessions.presumeOver('watcher');
    expect(await isOver(watcher.sessions, 'watcher')).toBe(false);
  });
});

describe('the row of a session', () => {
  it('is there from its first claim until the last of those who hold it lets go', async () => {
    const { sessions, clock } = createNode('mover');
    const [first, second] = [sessions.hold('helper'), sessions.hold('leader')];
    await clock.advanceAsync(10 * heartbeatMs);
    expect(await rowOf('mover')).toBeUndefined();
    await announce({ sessions });
    await first.letGo();
    await first.letGo();
    await clock.advanceAsync(heartbeatMs);
    expect(await rowOf('mover')).toMatchObject({ n: 2 });
    await second.letGo();
    expect(await rowOf('mover')).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
  });

  it('does not come back with a beat once somebody has cleared it, and with the next claim under another number', async () => {
    const mover = createNode('mover');
    const held = mover.sessions.hold('helper');
    await announce(mover);
    await mover.clock.advanceAsync(heartbeatMs);
    await database.transact((tx) => Promise.resolve(tx.clear(keys.session('mover'))));
    await mover.clock.advanceAsync(10 * heartbeatMs);
    expect(await rowOf('mover')).toBeUndefined();
    await announce(mover);
    expect(await rowOf('mover')).toMatchObject({ n: 3 });
    await held.letGo();
  });

  it('is there for a claim that was made while the last of those who held it let go', async () => {
    let clearing = (): void => undefined;
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const way = new Promise<void>((resolve) => {
      clearing = resolve;
    });
    const seen = withTransactions(database, (tx) => {
      let clears = false;
      return overriding(tx, {
        clear(key: Uint8Array) {
          clears = true;
          tx.clear(key);
        },
        async commit() {
          if (clears) {
            begin();
            await way;
          }
          await tx.commit();
        },
      });
    });
    const mover = createNode('mover', { seen });
    const held = mover.sessions.hold('helper');
    await seen.transact((tx) => mover.sessions.announce(tx));
    const leaving = held.letGo();
    await begun;
    const again = mover.sessions.hold('helper');
    const claim = seen.transact((tx) => mover.sessions.announce(tx));
    clearing();
    await Promise.all([leaving, claim]);
    expect(await rowOf('mover')).toMatchObject({ n: 2 });
    await again.letGo();
  });

  it('of one that died without a claim is cleared by whoever leads, with its beats', async () => {
    await announce(createNode('silent'));
    await announce(createNode('killed'));
    const living = createNode('living');
    const stays = living.sessions.hold('helper');
    await announce(living);
    dead.add('killed');
    const helper = createNode('helper');
    const helps = helper.sessions.hold('helper');
    await helper.clock.advanceAsync(3 * ttlMs);
    expect(await rowOf('killed')).toBeDefined();
    await helps.letGo();

    const leader = createNode('leader');
    const leads = leader.sessions.hold('leader');
    await leader.clock.advanceAsync(heartbeatMs);
    expect(await rowOf('killed')).toBeUndefined();
    expect(await rowOf('silent')).toBeDefined();
    for (let beat = 0; beat < ttlMs / heartbeatMs; beat += 1) {
      await living.clock.advanceAsync(heartbeatMs);
      await leader.clock.advanceAsync(heartbeatMs);
    }
    expect(await rowOf('silent')).toBeUndefined();
    expect(await rowOf('living')).toBeDefined();
    expect([leader.failures, living.failures]).toEqual([[], []]);
    await Promise.all([leads.letGo(), stays.letGo()]);
  });

  it('of one that has beaten since it was taken for dead stays', async () => {
    const [mover, watcher] = [createNode('mover'), createNode('watcher')];
    await announce(mover);
    await watchUntilOver(watcher, 'mover');
    const held = mover.sessions.hold('helper');
    await mover.clock.advanceAsync(heartbeatMs);
    await database.transact((tx) => watcher.sessions.bury(tx, 'mover'));
    expect(await rowOf('mover')).toBeDefined();
    await held.letGo();
  });
});

describe('the living sessions', () => {
  const never = new AbortController().signal;
  const living = ({ sessions }: Node) => sessions.living(never);

  it('are all that are not over, and this one, which is announced where it is not', async () => {
    const [mover, other] = [createNode('mover'), createNode('other', { itsTtlMs: 3_000 })];
    expect(await living(mover)).toEqual({ arrival: 1, othersTtlMs: [] });
    expect(await rowOf('mover')).toBeDefined();
    await announce(other);
    await announce(createNode('killed'));
    dead.add('killed');
    expect(await living(mover)).toEqual({ arrival: 1, othersTtlMs: [3_000] });
    await mover.clock.advanceAsync(0);
    for (let look = 0; look < 3_000 / heartbeatMs; look += 1) {
      mover.clock.advance(heartbeatMs);
      await living(mover);
    }
    expect(await living(mover)).toEqual({ arrival: 1, othersTtlMs: [] });
  });

  it('have this one as another arrival once it was taken for dead', async () => {
    const mover = createNode('mover');
    await announce(mover);
    expect((await living(mover))?.arrival).toBe(1);
    await database.transact((tx) => Promise.resolve(tx.clear(keys.session('mover'))));
    expect((await living(mover))?.arrival).toBe(2);
    expect(await rowOf('mover')).toBeDefined();
  });
});

describe('what a session says of being throttled', () => {
  const find = ({ sessions }: Node, session: string) => database.transact((tx) => sessions.find(tx, session));

  it('is in its row at once, with each beat, and not any more when it is over', async () => {
    const [mover, onlooker] = [createNode('mover'), createNode('onlooker')];
    const held = mover.sessions.hold('helper');
    await announce(mover);
    expect((await find(onlooker, 'mover'))?.throttled).toBeUndefined();
    await mover.sessions.tellThrottled(1, { reason: 'night', sinceMs: 5 });
    const said = [{ modelId: 1, reason: 'night', sinceMs: 5 }];
    expect((await find(onlooker, 'mover'))?.throttled).toEqual(said);
    expect((await find(mover, 'mover'))?.throttled).toEqual(said);
    await mover.sessions.tellThrottled(1, { reason: 'dawn', sinceMs: 5 });
    expect((await find(onlooker, 'mover'))?.throttled).toEqual(said);
    await mover.clock.advanceAsync(heartbeatMs);
    expect((await find(onlooker, 'mover'))?.throttled).toMatchObject([{ reason: 'dawn' }]);
    await mover.sessions.tellThrottled(1, undefined);
    expect((await find(onlooker, 'mover'))?.throttled).toBeUndefined();
    await held.letGo();
  });

  it('makes no row for one that has none', async () => {
    const mover = createNode('mover');
    await mover.sessions.tellThrottled(1, { reason: 'night', sinceMs: 5 });
    expect(await rowOf('mover')).toBeUndefined();
    await announce(mover);
    await database.transact((tx) => Promise.resolve(tx.clear(keys.session('mover'))));
    await mover.sessions.tellThrottled(1, undefined);
    expect(await rowOf('mover')).toBeUndefined();
  });
});
