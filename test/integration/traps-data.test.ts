import { afterEach, beforeEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { readRanges, totalsOf } from '../../src/migration/passes/ledger.ts';
import { defineModel, string } from '../../src/model/index.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { schemaIdOf } from '../../src/records/record-codec.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import { answers, CityV1, CityV2, cityId, cityOf, createLatch, succeed, toCityV2 } from '../rig/migration.ts';
import { readRows } from '../rig/recompute-index.ts';
import type { TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground, letThingsHappen, outcomeOf } from '../rig/trap-rig.ts';

/** Traps 10, 11, 16, 18 and 19 of the design, each of which `npm run traps` shows to be caught here. */

let rig: TrapRig;
beforeEach(() => {
  rig = createTrapRig();
});
afterEach(() => rig.close());

const models = { 1: CityV2 };
const oldModels = { 1: CityV1 };
const migrationHandler = backfill({ transform: toCityV2 });

const movedRecords = async () =>
  (await readRows(rig.database, rangeOf(rig.keys.records(1)))).filter(({ value }) => schemaIdOf(value) === 2);

it('trap 10: an older program writes nothing behind the cursor', async () => {
  await rig.fill(300);
  const old = await rig.open({ dataModelsById: oldModels });
  const codes: unknown[] = [];
  rig.afterCommit = async (commit) => {
    if (!commit.setsUnder(rig.keys.records(1)) || commit.store !== 2) return;
    codes.push(await outcomeOf(old.model(CityV1).put({ ...cityOf(0), name: 'too late' })));
  };
  const store = await rig.open({
    dataModelsById: models,
    migrationHandler,
    continueMigrationsInBackground: true,
  });
  expect(codes.length).toBeGreaterThan(1);
  expect(new Set(codes)).toEqual(new Set(['MODEL_MIGRATING']));
  expect(await store.model(CityV2).get(cityId(0))).toMatchObject({ name: 'city 0' });
});

it('trap 10: a write of an older program that is in flight when the gate closes does not land', async () => {
  await rig.fill(3);
  const old = await rig.open({ dataModelsById: oldModels });
  const [isClosed, goOn] = [createLatch(), createLatch()];
  const isInFlight = createLatch();
  rig.beforeCommit = async (commit) => {
    if (commit.store !== 1 || commit.attempt > 0) return;
    isInFlight.open();
    await isClosed.opened;
  };
  const writing = outcomeOf(old.model(CityV1).put({ ...cityOf(0), name: 'too late' }));
  await isInFlight.opened;
  const store = await rig.open({
    dataModelsById: models,
    migrationExpandHandler: async () => {
      await goOn.opened;
      return MigrationOutcome.Success;
    },
    migrationHandler,
    migrationAuditEventReporter({ type }) {
      if (type === 'LeaseAcquired') isClosed.open();
    },
    ...inBackground,
  });
  expect(await writing).toBe('MODEL_MIGRATING');
  goOn.open();
  await store.awaitMigration(1);
  expect(await store.model(CityV2).get(cityId(0))).toMatchObject({ name: 'city 0' });
});

it('trap 11: after each commit the ledger says how many records were moved', async () => {
  await rig.fill(300);
  const found: { readonly said: number; readonly moved: number }[] = [];
  rig.afterCommit = async (commit) => {
    if (!commit.setsUnder(rig.keys.records(1))) return;
    const rows = await rig.database.transact((tx) => readRanges(tx, rig.keys, 'backfill'));
    found.push({ said: totalsOf(rows).moved, moved: (await movedRecords()).length });
  };
  await rig.open({ dataModelsById: models, migrationHandler });
  expect(found.length).toBeGreaterThan(1);
  expect(found.filter(({ said, moved }) => said !== moved)).toEqual([]);
});

it('trap 11: a handler that advances commits cursor and records together', async () => {
  await rig.fill(1);
  const found: { readonly cursor: boolean; readonly moved: number }[] = [];
  rig.afterCommit = (commit) => {
    if (commit.setsUnder(rig.keys.records(1))) found.push({ cursor: commit.sets(rig.keys.state), moved: 1 });
  };
  const handler = answers(async ({ transact }: MigrationContext) => {
    await transact(async (tx) => {
      await tx.write({ id: cityId(0), name: 'city 0', latitude: 1, longitude: 2 });
      tx.advance(cityId(0));
    });
    return MigrationOutcome.Success;
  });
  await rig.open({ dataModelsById: models, migrationHandler: handler });
  expect(found).toEqual([{ cursor: true, moved: 1 }]);
});

it('trap 16: a program that was rolled back half-way serves nothing', async () => {
  await rig.fill(300);
  await rig.stopHalfWay({ dataModelsById: models, migrationHandler });
  expect(await movedRecords()).toHaveLength(100);
  const rolledBack = await rig.open({ dataModelsById: oldModels });
  expect(await outcomeOf(rolledBack.model(CityV1).get(cityId(0)))).toBe('MODEL_MIGRATING');
  expect(rolledBack.readiness().ready).toBe(false);
});

it('trap 16: a program that was rolled back after the end serves nothing', async () => {
  await rig.fill(3);
  await rig.open({ dataModelsById: models, migrationHandler });
  const rolledBack = await rig.open({ dataModelsById: oldModels });
  expect(await outcomeOf(rolledBack.model(CityV1).get(cityId(0)))).toBe('MODEL_SCHEMA_CHANGED');
});

/** The old program's model, and a compatible successor that knows one property more. */
const { Note, NoteWithTitle } = (() => {
  const id = string({ number: 1, required: true });
  const text = string({ number: 2 });
  const common = { name: 'Note', key: ['id'] } as const;
  return {
    Note: defineModel({ ...common, version: '1.0', properties: { id, text } }),
    NoteWithTitle: defineModel({
      ...common,
      version: '1.1',
      properties: { id, text, title: string({ number: 3 }) },
      indexes: [{ name: 'byTitle', on: ['title'] }],
    }),
  };
})();

it('trap 18: a full write of an older program keeps what it does not know', async () => {
  const old = await rig.open({ dataModelsById: { 1: Note } });
  const store = await rig.open({ dataModelsById: { 1: NoteWithTitle } });
  await store.model(NoteWithTitle).add({ id: 'n', text: 'before', title: 'kept' });
  await old.model(Note).put({ id: 'n', text: 'after' });
  expect(await store.model(NoteWithTitle).get('n')).toEqual({ id: 'n', text: 'after', title: 'kept' });
});

it('trap 19: what a handler kept of its context writes nothing in a later step', async () => {
  await rig.fill(3);
  let kept: MigrationContext<FoundationDBDataStore> | undefined;
  const late = { id: cityId(9), name: 'late', latitude: 0, longitude: 0 };
  const codes: unknown[] = [];
  const store = await rig.open({
    dataModelsById: models,
    migrationExpandHandler: (context) => {
      kept = context;
      return Promise.resolve(MigrationOutcome.Success);
    },
    migrationHandler,
    migrationContractHandler: async () => {
      if (kept === undefined) return MigrationOutcome.Fatal('there is no context');
      codes.push(await outcomeOf(kept.write(late)));
      codes.push(await outcomeOf(kept.store.model(CityV2).add(late)));
      return MigrationOutcome.Success;
    },
  });
  expect(codes).toEqual(['CONTEXT_EXPIRED', 'CONTEXT_EXPIRED']);
  expect(await store.model(CityV2).get(cityId(9))).toBeUndefined();
});

it('trap 19: a write that was not awaited belongs to its step, or to none', async () => {
  await rig.fill(0);
  const order: string[] = [];
  rig.beforeCommit = async (commit) => {
    // Slow enough for everything else to overtake it.
    if (commit.setsUnder(rig.keys.records(1))) await letThingsHappen();
  };
  rig.afterCommit = (commit) => {
    if (commit.setsUnder(rig.keys.records(1))) order.push('record');
  };
  await rig.open({
    dataModelsById: models,
    migrationExpandHandler: succeed,
    migrationHandler: (context) => {
      void context.write({ id: cityId(0), name: 'city 0', latitude: 1, longitude: 2 }).catch(() => undefined);
      return Promise.resolve(MigrationOutcome.Success);
    },
    migrationVerification: 'off',
    migrationAuditEventReporter({ type, phase }) {
      if (phase === 'Backfill') order.push(type);
    },
  });
  expect(order).toEqual(['PhaseStarted', 'record', 'PhaseCompleted']);
});
