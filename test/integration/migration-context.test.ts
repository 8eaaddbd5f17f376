import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext, StoredRecord } from '../../src/migration/context.ts';
import type { MigrationHandler } from '../../src/migration/handlers.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineModel } from '../../src/model/index.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  CityV1,
  CityV2,
  answers,
  cityId,
  cityOf,
  createLatch,
  createMigrationRig,
  succeed,
  thing,
  toCityV2,
} from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const { Success, Partial, Retry } = MigrationOutcome;
const cities = Array.from({ length: 25 }, (_, n) => cityOf(n));

/** What a handler writes: a transform may return properties that are left behind, a handler may not. */
const converted = ({ id, name, lat, lng }: Readonly<Record<string, unknown>>) => ({
  id,
  name,
  latitude: Number(lat),
  longitude: Number(lng),
});

/** Moves a few records a call, with data and cursor in one commit. */
const moveFew =
  (perCall: number): MigrationHandler =>
  async (context) => {
    const some: StoredRecord[] = [];
    for await (const stored of context.records({ after: context.cursor })) {
      some.push(stored);
      if (some.length === perCall) break;
    }
    const last = some.at(-1);
    if (last === undefined) return Success;
    await context.transact(async (tx) => {
      for (const { record } of some) await tx.write(converted(record));
      tx.advance(last.cursor, { records: some.length });
    });
    return Partial();
  };

async function expectMoved(store: Pick<FoundationDBDataStore, 'model'>): Promise<void> {
  const all = await store.model(CityV2).scan().toArray();
  expect(all).toEqual(cities.map(converted));
  for (const { state, expected, actual } of await rig.indexes(1, CityV2)) {
    expect(state).toBe('ready');
    expect(actual).toEqual(expected);
  }
}

describe('a hand-written handler', () => {
  it('reads stored records, writes new ones and fills every index', async () => {
    await rig.seed(CityV1, cities);
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: moveFew(10) });
    expect(await store.model(CityV2).count()).toBe(cities.length);
    await expectMoved(store);
  });

  it('commits data and cursor together: killed after any step it moves each record once', async () => {
    await rig.seed(CityV1, cities);
    const written = new Map<string, number>();
    const counting: MigrationHandler = async (context) => {
      const before = context.cursor;
      const outcome = await moveFew(4)(context);
      expect(context.cursor === before).toBe(outcome.type === 'Success');
      if (outcome.type === 'Success') return outcome;
      written.set(context.cursor ?? '', (written.get(context.cursor ?? '') ?? 0) + 1);
      return outcome;
    };
    for (let kills = 0; kills < 3; kills += 1) {
      let partials = 0;
      await rig.openUntil({ 1: CityV2 }, { migrationHandler: counting }, ({ type }) => {
        if (type === 'Partial') partials += 1;
        return partials === 2;
      });
    }
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: counting });
    expect([...written.values()]).toEqual(Array.from({ length: 7 }, () => 1));
    await expectMoved(store);
  });

  it('shows its progress in the status', async () => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const handler = answers(async (context: MigrationContext) => {
      const before = await (context.store as FoundationDBDataStore).migrationStatus(1);
      expect(before).toMatchObject({ hasCursor: false, progress: { recordsDone: 0, fraction: null } });
      await context.transact((tx) => Promise.resolve(tx.advance('half', { records: 12, fraction: 0.5 })));
      const status = await (context.store as FoundationDBDataStore).migrationStatus(1);
      expect(status).toMatchObject({ hasCursor: true, state: 'Running', phase: 'Backfill' });
      expect(status.progress).toMatchObject({ recordsDone: 12, fraction: 0.5 });
      return Success;
    });
    await rig.open({ 1: thing('Thing', '2.0') }, { migrationHandler: handler });
    expect(handler.calls).toHaveLength(1);
  });

  it('whose transaction throws has changed nothing, the cursor included', async () => {
    await rig.seed(CityV1, cities);
    let calls = 0;
    const handler: MigrationHandler = async (context) => {
      calls += 1;
      if (calls === 1) {
        const failing = context.transact(async (tx) => {
          await tx.write({ id: 'new', name: 'new', latitude: 0, longitude: 0 });
          tx.advance('nowhere');
          throw new Error('changed my mind');
        });
        await expect(failing).rejects.toThrow('changed my mind');
        expect(context.cursor).toBeUndefined();
        return Retry({ retryAfterMs: 1 });
      }
      return moveFew(100)(context);
    };
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: handler });
    await expectMoved(store);
  });

  it('may run transactions side by side, but advance in one at a time', async () => {
    await rig.seed(CityV1, cities);
    const handler: MigrationHandler = async (context) => {
      const all: StoredRecord[] = [];
      for await (const stored of context.records()) all.push(stored);
      await Promise.all(all.map(({ record }) => context.transact((tx) => tx.write(converted(record)))));
      const advance = () => context.transact((tx) => Promise.resolve(tx.advance('a')));
      const results = await Promise.allSettled([advance(), advance()]);
      expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
      return Success;
    };
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: handler });
    await expectMoved(store);
    expect(rig.events.filter(({ type }) => type === 'LeaseAcquired')).toHaveLength(1);
  });

  it.each([
    'migrationExpandHandler',
    'migrationHandler',
    'migrationVerifyHandler',
    'migrationContractHandler',
  ])('leaves no entry behind in an index that is new, whichever phase it writes in: %s', async (name) => {
    const old = defineModel({ ...CityV1, indexes: [] });
    const NewIndex = defineModel({ ...CityV1, version: '2.0', indexes: [{ name: 'byLat', on: ['lat'] }] });
    await rig.seed(old, cities);
    const writes: MigrationHandler = async (context) => {
      await context.write({ ...cityOf(3), lat: 'elsewhere' });
      await context.write(cityOf(4));
      await context.transact((tx) => tx.remove(cityId(5)));
      return Success;
    };
    await rig.open({ 1: NewIndex }, { [name]: writes });
    const [index] = await rig.indexes(1, NewIndex);
    expect(index?.expected).toHaveLength(cities.length - 1);
    expect(index?.actual).toEqual(index?.expected);
  });

  it('before a backfill that moves the records leaves no entry behind either', async () => {
    await rig.seed(CityV1, cities);
    const expand: MigrationHandler = async (context) => {
      await context.write({ ...converted(cityOf(3)), latitude: 1 });
      await context.write(converted(cityOf(4)));
      return Success;
    };
    const store = await rig.open(
      { 1: CityV2 },
      {
        migrationExpandHandler: expand,
        migrationHandler: { City: backfill({ transform: toCityV2 }) },
      },
    );
    expect(await store.model(CityV2).get(cityId(3))).toMatchObject({ latitude: 1 });
    expect(await store.model(CityV2).count({ by: 'byLatitude' })).toBe(cities.length);
    for (const { expected, actual } of await rig.indexes(1, CityV2)) expect(actual).toEqual(expected);
  });

  it('has its index entries filled after it, and is not called again for that', async () => {
    await rig.seed(CityV1, cities);
    const handler = answers(moveFew(100), moveFew(100));
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: handler });
    await expectMoved(store);
    expect(handler.calls).toHaveLength(2);
  });

  it('may remove records, with their entries', async () => {
    await rig.seed(CityV1, cities);
    const handler: MigrationHandler = async (context) => {
      await context.transact(async (tx) => {
        for await (const { record } of context.records()) await tx.write(converted(record));
        for (const { id } of cities.slice(3)) await tx.remove(id);
      });
      return Success;
    };
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: handler });
    expect(await store.model(CityV2).count()).toBe(3);
    for (const { expected, actual } of await rig.indexes(1, CityV2)) expect(actual).toEqual(expected);
  });

  it('may write no record that the new definition refuses', async () => {
    await rig.seed(CityV1, cities);
    const handler: MigrationHandler = async (context) => {
      const refused = context.write({ id: 'x', name: 'x', latitude: 91, longitude: 0 });
      await expect(refused).rejects.toMatchObject({ code: 'RECORD_INVALID' });
      return moveFew(100)(context);
    };
    await expectMoved(await rig.open({ 1: CityV2 }, { migrationHandler: handler }));
  });
});

describe('context.records', () => {
  it('gives each record with its version and its cursor, in key order', async () => {
    await rig.seed(CityV1, cities);
    const seen: { id: unknown; version: string }[] = [];
    await rig.open(
      { 1: CityV2 },
      {
        migrationHandler: async (context) => {
          for await (const { record, version } of context.records()) seen.push({ id: record['id'], version });
          return moveFew(100)(context);
        },
      },
    );
    expect(seen.slice(0, 25)).toEqual(cities.map(({ id }) => ({ id, version: '1.0' })));
  });

  it('resumes behind any cursor', async () => {
    await rig.seed(CityV1, cities);
    await rig.open(
      { 1: CityV2 },
      {
        migrationHandler: async (context) => {
          const all: { id: unknown; cursor: string }[] = [];
          for await (const { record, cursor } of context.records()) all.push({ id: record['id'], cursor });
          for (const [at, { cursor }] of all.entries()) {
            const rest: unknown[] = [];
            for await (const { record } of context.records({ after: cursor })) rest.push(record['id']);
            expect(rest).toEqual(all.slice(at + 1).map(({ id }) => id));
          }
          return moveFew(100)(context);
        },
      },
    );
  });

  it('reads more than one page', async () => {
    const many = Array.from({ length: 1_203 }, (_, n) => ({ id: cityId(n) }));
    await rig.seed(thing('Thing', '1.0'), many);
    let count = 0;
    await rig.open(
      { 1: thing('Thing', '2.0') },
      {
        migrationHandler: async (context) => {
          for await (const { record } of context.records()) {
            expect(record['id']).toBe(cityId(count));
            count += 1;
          }
          return Success;
        },
      },
    );
    expect(count).toBe(1_203);
  });
});

describe('context.store', () => {
  const storeOf = (context: MigrationContext) => context.store as FoundationDBDataStore;
  const one = thing('One', '2.0');
  const two = thing('Two', '2.0');
  const plain = thing('Plain', '1.0');

  beforeEach(async () => {
    const store = await rig.open({ 1: thing('One', '1.0'), 2: thing('Two', '1.0'), 3: plain });
    await store.model(plain).add({ id: 'p' });
    await rig.settle(store.close());
  });

  it('passes the gate of its own model, and of no other', async () => {
    const handler: MigrationHandler = async (context) => {
      const store = storeOf(context);
      if (context.newDataModel.name === 'Two') return Success;
      await store.model(one).add({ id: 'a' });
      expect(await store.model(one).get('a')).toEqual({ id: 'a' });
      expect(await store.model(plain).get('p')).toEqual({ id: 'p' });
      await expect(store.model(two).get('a')).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
      return Success;
    };
    const store = await rig.open({ 1: one, 2: two, 3: plain }, { migrationHandler: handler });
    expect(await store.model(one).get('a')).toEqual({ id: 'a' });
  });

  it('opens the gate for nobody else meanwhile', async () => {
    const inside = createLatch();
    const goOn = createLatch();
    const store = await rig.open(
      { 1: one, 2: thing('Two', '1.0'), 3: plain },
      {
        migrationStartupBudgetMs: 0,
        continueMigrationsInBackground: true,
        migrationHandler: async (context) => {
          await storeOf(context).model(one).put({ id: 'a' });
          inside.open();
          await goOn.opened;
          return Success;
        },
      },
    );
    await rig.settle(inside.opened);
    await expect(store.model(one).get('a')).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
    goOn.open();
    await rig.settle(store.awaitMigration(1));
    expect(await store.model(one).get('a')).toEqual({ id: 'a' });
  });

  it('writes over records whose values do not fit an index that is new', async () => {
    const other = createMigrationRig();
    await other.seed(CityV1, cities);
    const store = await other.open(
      { 1: CityV2 },
      {
        migrationHandler: async (context) => {
          const own = storeOf(context).model(CityV2);
          for await (const { record } of context.records()) await own.put(converted(record) as never);
          await own.change(cityId(3), { latitude: 1 });
          await own.delete(cityId(4));
          return Success;
        },
      },
    );
    expect(await store.model(CityV2).count({ by: 'byLatitude' })).toBe(cities.length - 1);
    expect(await store.model(CityV2).get(cityId(3))).toMatchObject({ latitude: 1 });
    for (const { expected, actual } of await other.indexes(1, CityV2)) expect(actual).toEqual(expected);
    await other.close();
  });

  it('deletes records whose values do not fit an index that is new', async () => {
    const other = createMigrationRig();
    await other.seed(CityV1, cities);
    const store = await other.open(
      { 1: CityV2 },
      {
        migrationHandler: async (context) => {
          for (const { id } of cities) await storeOf(context).model(CityV2).delete(id);
          return Success;
        },
      },
    );
    expect(await store.model(CityV2).count()).toBe(0);
    for (const { actual } of await other.indexes(1, CityV2)) expect(actual).toEqual([]);
    await other.close();
  });

  it('closes nothing', async () => {
    const store = await rig.open(
      { 1: one, 2: thing('Two', '1.0'), 3: plain },
      {
        migrationHandler: async (context) => {
          await storeOf(context).close();
          await storeOf(context).model(one).put({ id: 'a' });
          return Success;
        },
      },
    );
    expect(await store.model(one).get('a')).toEqual({ id: 'a' });
  });

  it('ends with its step, as do transact, write and records', async () => {
    const kept = createLatch<MigrationContext>();
    await rig.open(
      { 1: one, 2: thing('Two', '1.0'), 3: plain },
      {
        migrationExpandHandler: (context) => {
          kept.open(context);
          return Promise.resolve(Success);
        },
        migrationHandler: async () => {
          const late = await kept.opened;
          const expired = { code: 'CONTEXT_EXPIRED' };
          const store = storeOf(late);
          await expect(store.model(one).put({ id: 'late' })).rejects.toMatchObject(expired);
          await expect(store.transact((tx) => tx.model(one).get('x'))).rejects.toMatchObject(expired);
          await expect(late.transact(() => Promise.resolve())).rejects.toMatchObject(expired);
          await expect(late.write({ id: 'late' })).rejects.toMatchObject(expired);
          const iterator = late.records()[Symbol.asyncIterator]();
          await expect(iterator.next()).rejects.toMatchObject(expired);
          return Success;
        },
      },
    );
  });

  /** Long enough for a step to end meanwhile, and no time passes. */
  const turns = async () => {
    for (let turn = 0; turn < 2_000; turn += 1) await Promise.resolve();
  };

  it.each([
    ['store', (context: MigrationContext) => storeOf(context).model(one).put({ id: 'late' })],
    ['write', (context: MigrationContext) => context.write({ id: 'late' })],
    [
      'a slow transaction of the store',
      (context: MigrationContext) =>
        storeOf(context).transact(async (tx) => {
          await turns();
          await tx.model(one).put({ id: 'late' });
        }),
    ],
    [
      'a slow transaction',
      (context: MigrationContext) =>
        context.transact(async (tx) => {
          await turns();
          await tx.write({ id: 'late' });
        }),
    ],
  ])('a write by %s that was not awaited lands before the step ends', async (_how, write) => {
    const landed: boolean[] = [];
    const store = await rig.open(
      { 1: one, 2: thing('Two', '1.0'), 3: plain },
      {
        migrationExpandHandler: (context) => {
          void write(context).then(() => landed.push(true));
          return Promise.resolve(Success);
        },
        migrationHandler: async (context) => {
          expect(landed).toEqual([true]);
          expect(await storeOf(context).model(one).get('late')).toEqual({ id: 'late' });
          return Success;
        },
      },
    );
    expect(await store.model(one).get('late')).toEqual({ id: 'late' });
  });

  it('is refused by a migration that was taken away', async () => {
    const inside = createLatch();
    const goOn = createLatch();
    const outcome = createLatch<unknown>();
    const open = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true };
    const first = await rig.open(
      { 1: one, 2: thing('Two', '1.0'), 3: plain },
      {
        ...open,
        migrationExpandHandler: succeed,
        migrationHandler: async (context) => {
          inside.open();
          await goOn.opened;
          const written = storeOf(context).model(one).put({ id: 'from a deposed owner' });
          outcome.open(await written.catch((error: unknown) => error));
          return Success;
        },
      },
    );
    await rig.settle(inside.opened);
    await first.resetMigration(1);
    goOn.open();
    expect(await rig.settle(outcome.opened)).toMatchObject({ code: 'LEASE_LOST' });
  });
});

describe('context.transact', () => {
  it('is refused under a lease that was taken away, whether or not it advances', async () => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const [inside, goOn, outcome] = [createLatch(), createLatch(), createLatch<unknown>()];
    const store = await rig.open(
      { 1: thing('Thing', '2.0') },
      {
        migrationStartupBudgetMs: 0,
        continueMigrationsInBackground: true,
        migrationExpandHandler: succeed,
        migrationHandler: answers(async (context) => {
          inside.open();
          await goOn.opened;
          const written = context.write({ id: 'from a deposed owner' });
          outcome.open(await written.catch((error: unknown) => error));
          return Success;
        }),
      },
    );
    await rig.settle(inside.opened);
    await store.releaseLease(1);
    goOn.open();
    expect(await rig.settle(outcome.opened)).toMatchObject({ code: 'LEASE_LOST' });
    await rig.settle(store.awaitMigration(1));
  });

  it('marks the migration: what it wrote is not opened again under the stored definition', async () => {
    const before = thing('Thing', '1.0');
    const old = await rig.open({ 1: before });
    const opening = rig.open(
      { 1: thing('Thing', '2.0') },
      {
        migrationHandler: async (context) => {
          await context.write({ id: 'of 2.0' });
          return MigrationOutcome.Fatal('no further');
        },
      },
    );
    await expect(opening).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
    await expect(old.model(before).count()).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
  });
});

describe('context.signal', () => {
  it.each([
    ['pause', (store: FoundationDBDataStore) => store.pauseMigration(1), 'Paused'],
    ['cancel', (store: FoundationDBDataStore) => store.cancelMigration(1), 'Canceled'],
  ])('aborts on %s', async (_what, stop, state) => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const inside = createLatch();
    const store = await rig.open(
      { 1: thing('Thing', '2.0') },
      {
        migrationStartupBudgetMs: 0,
        continueMigrationsInBackground: true,
        migrationExpandHandler: succeed,
        migrationHandler: async ({ signal }) => {
          inside.open();
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
          throw new Error('told to stop');
        },
      },
    );
    await rig.settle(inside.opened);
    const halted = createLatch();
    rig.events.length = 0;
    await stop(store as unknown as FoundationDBDataStore);
    void (async () => {
      for await (const event of store.migrationEvents()) {
        if (event.type === 'status' && event.status.state === state) return halted.open();
      }
    })();
    await rig.settle(halted.opened);
    expect(rig.events).toMatchObject([{ type: state, phase: 'Backfill' }]);
    expect(await rig.stateOf(1)).toMatchObject({ status: state, lastError: null, attempt: 0 });
  });

  it('is not aborted for a handler that is left alone', async () => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const handler = answers((context: MigrationContext) => {
      expect(context.signal.aborted).toBe(false);
      return Success;
    });
    await rig.open({ 1: thing('Thing', '2.0') }, { migrationHandler: handler });
    expect(handler.calls[0]?.signal.aborted).toBe(false);
  });
});
