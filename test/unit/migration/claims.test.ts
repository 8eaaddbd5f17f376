import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase, Transaction } from '../../../src/kv/kv.ts';
import { KeyValueError, KeyValueErrorCode } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { writeIntent } from '../../../src/migration/intent.ts';
import { leaseLost } from '../../../src/migration/lease.ts';
import { claimOrder } from '../../../src/migration/passes/claim-order.ts';
import { createClaims } from '../../../src/migration/passes/claims.ts';
import type { RangeRow } from '../../../src/migration/passes/ledger.ts';
import { createRange, readRanges, writeRange } from '../../../src/migration/passes/ledger.ts';
import type { HeldMigration, ModelMigration } from '../../../src/migration/runtime.ts';
import { createSessions } from '../../../src/migration/sessions.ts';
import type { MigrationState } from '../../../src/migration/state.ts';
import { createState, writeState } from '../../../src/migration/state.ts';
import { createStoreKeys, rangeOf } from '../../../src/records/keys.ts';
import { outcomeOf } from '../../rig/trap-rig.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const storeKeys = createStoreKeys(['claims']);
const keys = storeKeys.model(1);
const slice = rangeOf(keys.records(1));

let database: KeyValueDatabase;
beforeEach(() => {
  database = openMemoryDatabase();
});
afterEach(() => database.close());

const dead = new Set<string>();
afterEach(() => dead.clear());

const begun: MigrationState = {
  ...createState({
    migrationId: 'm',
    kind: 'migration',
    revision: 1,
    phase: 'Backfill',
    targetSchemaId: 2,
    targetKeySpace: 1,
    sourceKeySpaces: [1],
    indexes: [],
    transformHash: null,
    intentRevision: 0,
  }),
  status: 'Running',
};

const write = (state: MigrationState, rows: readonly RangeRow[]) =>
  database.transact((tx) => {
    writeState(tx, keys, state);
    rows.forEach((row, number) => writeRange(tx, keys, 'backfill', number, row));
    return Promise.resolve();
  });
const rowsOf = () => database.transact((tx) => readRanges(tx, keys, 'backfill'));
const plan = (ranges: number) => Array.from({ length: ranges }, () => createRange(slice, 1));
const claimedBy = (session: string, claimSeq = 1): RangeRow => ({
  ...createRange(slice, 1),
  claimSeq,
  claim: { session, claimSeq },
});

/** What a process claims under an ownership that may be lost. */
function createMover(session: string, seen = database) {
  let isLost = false;
  const sessions = createSessions({
    database,
    keys: storeKeys,
    clock: createVirtualClock(),
    session,
    nodeId: session,
    ttlMs: 1_000,
    heartbeatMs: 250,
    process: {
      identity: { host: 'host', pid: 1, bootId: '', pidNamespace: '', startTime: '' },
      sessions: new Set([session]),
      isCertainlyDead: (_holder, other) => dead.has(other),
    },
    onFailure: () => undefined,
  });
  const hints = { tell: () => undefined, listen: () => () => undefined };
  const runtime = { hints, database: seen, sessions, session, leastSplitRecords: 1_000 };
  const lease = {
    epoch: 1,
    lost: new AbortController().signal,
    guard: () => (isLost ? Promise.reject(leaseLost(1)) : Promise.resolve()),
  };
  const claims = createClaims(
    { runtime, model: { keys } } as unknown as ModelMigration,
    { lease, state: begun } as unknown as HeldMigration,
    'backfill',
  );
  return {
    announce: () => database.transact((tx) => sessions.announce(tx)),
    next: () => claims.next(() => 0),
    async take() {
      const claimed = await claims.next(() => 0);
      if (claimed.type !== 'claimed') throw new Error(`nothing is claimed: ${claimed.type}`);
      return claimed;
    },
    giveBack: claims.giveBack,
    giveBackAll: claims.giveBackAll,
    loseLease() {
      isLost = true;
    },
  };
}

const [one, other] = ['00000000-one', '00000001-other'];

describe('a process that claims', () => {
  it('takes what is free in its own order, one after another, and says when all are at their end', async () => {
    await write(begun, plan(3));
    const mover = createMover(one);
    const numbers = (await Promise.all([mover.take(), mover.take(), mover.take()])).map(
      ({ number }) => number,
    );
    expect(numbers).toEqual(claimOrder(one, 3));
    expect((await rowsOf()).map(({ claim }) => claim)).toEqual(
      Array.from({ length: 3 }, () => ({ session: one, claimSeq: 1 })),
    );
    await write(
      begun,
      plan(3).map((row) => ({ ...row, done: true })),
    );
    expect(await mover.next()).toEqual({ type: 'allDone' });
  });

  it('never takes what another takes at the same time', async () => {
    await write(begun, plan(8));
    const movers = [createMover(one), createMover(other)];
    const taken = await Promise.all(movers.flatMap((mover) => [1, 2, 3, 4].map(() => mover.take())));
    expect(new Set(taken.map(({ number }) => number)).size).toBe(8);
    expect((await rowsOf()).every(({ claimSeq }) => claimSeq === 1)).toBe(true);
  });

  it('takes its own again that an earlier attempt left, under the next number', async () => {
    await write(begun, [claimedBy(one, 4)]);
    expect(await createMover(one).take()).toMatchObject({ number: 0, row: { claimSeq: 5 } });
  });

  it('leaves to a living session what it has claimed', async () => {
    await write(begun, [claimedBy(other)]);
    await createMover(other).announce();
    expect(await createMover(one).next()).toEqual({ type: 'othersMove' });
    expect((await rowsOf())[0]?.claim).toEqual({ session: other, claimSeq: 1 });
  });

  it('takes what a dead session has claimed, and buries it', async () => {
    await write(begun, [claimedBy(other)]);
    await createMover(other).announce();
    dead.add(other);
    expect(await createMover(one).take()).toMatchObject({ number: 0, row: { claimSeq: 2 } });
    const session = await database.transact((tx) => tx.get(storeKeys.session(other)));
    expect(session).toBeUndefined();
  });

  it.each([
    ['has failed', { ...begun, status: 'Failed' }],
    ['waits for another try', { ...begun, status: 'Retry' }],
    ['has ended the phase', { ...begun, phaseCompleted: true }],
    ['is in another phase', { ...begun, phase: 'Verify' }],
    ['is another one', { ...begun, migrationId: 'another' }],
  ] as const)('begins nothing where the migration %s', async (_, state) => {
    await write(state, plan(1));
    expect(await outcomeOf(createMover(one).next())).toBe('LEASE_LOST');
    expect((await rowsOf())[0]?.claimSeq).toBe(0);
  });

  it('begins nothing where the ownership is over, or an operator has said stop', async () => {
    await write(begun, plan(1));
    const mover = createMover(one);
    mover.loseLease();
    expect(await outcomeOf(mover.next())).toBe('LEASE_LOST');
    await database.transact((tx) => {
      const said = { migrationId: 'm', id: 'i', by: 'ops', reason: '', revision: 1, atMs: 0 };
      return Promise.resolve(void writeIntent(tx, keys, { ...said, want: 'pause' }));
    });
    expect(await createMover(one).next()).toMatchObject({ type: 'intent', intent: { want: 'pause' } });
    expect((await rowsOf())[0]?.claimSeq).toBe(0);
  });
});

describe('a claim that is given back', () => {
  it('is free, whoever leads by then', async () => {
    await write(begun, plan(1));
    const mover = createMover(one);
    const claimed = await mover.take();
    mover.loseLease();
    await mover.giveBack(claimed);
    expect((await rowsOf())[0]).toMatchObject({ claim: null, claimSeq: 1 });
    expect(await createMover(other).take()).toMatchObject({ number: 0, row: { claimSeq: 2 } });
  });

  it('stays where it is another one by then', async () => {
    await write(begun, plan(1));
    const mover = createMover(one);
    const claimed = await mover.take();
    for (const later of [claimedBy(other, 2), claimedBy(one, 3)]) {
      await write(begun, [later]);
      await mover.giveBack(claimed);
      expect((await rowsOf())[0]?.claim).toEqual(later.claim);
    }
  });

  it('is free in the end, although nobody knows how the claiming ended', async () => {
    await write(begun, [...plan(1), claimedBy(other)]);
    await createMover(other).announce();
    const lossy: KeyValueDatabase = {
      ...database,
      async transact<T>(body: (tx: Transaction) => Promise<T>) {
        await database.transact(body);
        throw new KeyValueError(KeyValueErrorCode.canceled);
      },
    };
    const mover = createMover(one, lossy);
    expect(await outcomeOf(mover.next())).toBe(KeyValueErrorCode.canceled);
    expect((await rowsOf()).map(({ claim }) => claim?.session)).toEqual([one, other]);
    await mover.giveBackAll().catch(() => undefined);
    expect((await rowsOf()).map(({ claim }) => claim?.session)).toEqual([undefined, other]);
  });
});
