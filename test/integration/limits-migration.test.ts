import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/limits.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { createMigrationEventHub } from '../../src/migration/events.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { systemProcess } from '../../src/ports/process.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { ConfiguredModel } from '../../src/records/configured-model.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { silentLogger } from '../../src/telemetry/logger.ts';
import { silentMeters } from '../../src/telemetry/meters.ts';
import { countTransactions } from '../rig/counting-database.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  CityV1,
  CityV2,
  answers,
  cityOf,
  createInlinePool,
  createMigrationRig,
  thing,
  toCityV2,
} from '../rig/migration.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';
import { watchCommits } from '../rig/watched-commits.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const { Retry } = MigrationOutcome;
const cities = (count: number) => Array.from({ length: count }, (_, n) => cityOf(n));

/** A store on another view of the rig's database; whoever opens it closes it. */
const openOn = <const M extends AnyModels>(
  database: KeyValueDatabase,
  models: M,
  options: Partial<Omit<StoreOptions<M>, 'database' | 'dataModelsById'>>,
) =>
  rig.settle(
    FoundationDBDataStore.openWith<M>(
      {
        subspace: rig.subspace,
        pool: createInlinePool(),
        migrationAuditEventReporter: () => undefined,
        ...options,
        database,
        dataModelsById: models,
      },
      { clock: rig.clock, random: systemRandom, process: systemProcess },
    ),
  );

describe('the transaction of a chunk', () => {
  /** Records in each commit that was tried, when the first one takes so long. */
  const commitsOf = async (firstMs: number) => {
    const records = 300;
    await rig.seed(CityV1, cities(records));
    const tried: number[] = [];
    const slow = watchCommits(rig.database, rig.keysOf(1).records(1), {
      before({ number, keys }) {
        tried.push(keys);
        if (number === 1) rig.clock.advance(firstMs);
      },
    });
    const store = await openOn(
      slow,
      { 1: CityV2 },
      { migrationHandler: backfill({ transform: toCityV2 }), maxBackfillConcurrency: 1 },
    );
    expect(await store.model(CityV2).count()).toBe(records);
    expect((await store.migrationMetrics(1)).recordsMoved).toBe(records);
    await rig.settle(store.close());
    const repeated = tried.reduce((sum, keys) => sum + keys, 0) - records;
    return { first: tried[0], second: tried[1], repeated };
  };

  it('commits when it has taken all the time it may', async () => {
    expect(await commitsOf(limits.chunk.hardMs.value)).toMatchObject({ first: 100, repeated: 0 });
  });

  it('is given up a millisecond later, and tried again with half the records', async () => {
    const found = await commitsOf(limits.chunk.hardMs.value + 1);
    expect(found).toEqual({ first: 100, second: 50, repeated: 100 });
  });
});

describe('the delay that a handler asks for', () => {
  const { value } = limits.migration.handlerDelayMs;

  it.each([
    ['is granted', value],
    ['is cut', value + 1],
  ])('%s where it is %d ms', async (_what, retryAfterMs) => {
    await rig.open(
      { 1: thing('Thing', '2.0') },
      {
        migrationHandler: answers(Retry({ retryAfterMs })),
        migrationStartupBudgetMs: 1_000,
        continueMigrationsInBackground: true,
      },
    );
    const { message } = rig.events.find(({ type }) => type === 'RetryScheduled') ?? {};
    expect(message).toBe(`in ${value} ms`);
  });

  beforeEach(() => rig.seed(thing('Thing', '1.0'), []));
});

describe('the records that a handler walks', () => {
  it('come in pages of as many as may be, and one more with the next page', async () => {
    const { value } = limits.migration.handlerPageRecords;
    const walk = async (count: number) => {
      const walking = createMigrationRig();
      await walking.seed(CityV1, cities(count));
      const counting = countTransactions(walking.database);
      let transactions = 0;
      let seen = 0;
      const opening = FoundationDBDataStore.openWith(
        {
          subspace: walking.subspace,
          pool: createInlinePool(),
          migrationAuditEventReporter: () => undefined,
          database: counting,
          dataModelsById: { 1: CityV2 },
          migrationExpandHandler: async (context) => {
            transactions = await counting.during(async () => {
              for await (const stored of context.records()) seen += stored.version === '1.0' ? 1 : 0;
            });
            return MigrationOutcome.Fatal('seen enough');
          },
          continueMigrationsInBackground: true,
        },
        { clock: walking.clock, random: systemRandom, process: systemProcess },
      );
      const store = await walking.settle(opening);
      expect(seen).toBe(count);
      await walking.settle(store.close());
      await walking.close();
      return transactions;
    };
    const below = await walk(value - 1);
    // A full page does not know that it was the last.
    expect([await walk(value), await walk(value + 1)]).toEqual([below + 1, below + 1]);
    expect(await walk(2 * value)).toBe(below + 2);
  });
});

describe('a list of records in quarantine', () => {
  it('reads as many rows at once as it may, and one more with the next page', async () => {
    const { value } = limits.migration.quarantineRows;
    await rig.seed(CityV1, cities(value + 1));
    const counting = countTransactions(rig.database);
    const store = await openOn(
      counting,
      { 1: CityV2 },
      {
        migrationHandler: backfill({
          transform: () => {
            throw new Error('no');
          },
          onPoison: 'quarantine',
        }),
      },
    );
    const listing = (limit: number) =>
      counting.during(async () => {
        expect(await store.quarantined(1, limit)).toHaveLength(limit);
      });
    expect([await listing(value), await listing(value + 1)]).toEqual([1, 2]);
    await rig.settle(store.close());
  });
});

describe('the status events of a model', () => {
  it('are as far apart as they have to be, and no further', async () => {
    const { value } = limits.migration.statusEventMs;
    const clock = createVirtualClock();
    const hub = createMigrationEventHub({
      clock,
      persisted: false,
      reporter: () => undefined,
      logger: silentLogger,
      loggerFor: () => silentLogger,
      meters: silentMeters,
      readModel: () => Promise.reject(new Error('is only counted')),
      trim: () => Promise.resolve(),
    });
    const model = { id: 1, name: 'City' } as ConfiguredModel;
    // Each reading fails, which is counted: no status has to be made up.
    const readings = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return hub.failures;
    };
    for (let n = 0; n < 5; n += 1) hub.changed(model);
    expect(await readings()).toBe(1);
    clock.advance(value - 1);
    expect(await readings()).toBe(1);
    clock.advance(1);
    expect(await readings()).toBe(2);
    clock.advance(10 * value);
    expect(await readings()).toBe(2);
    await hub.close();
  });
});
