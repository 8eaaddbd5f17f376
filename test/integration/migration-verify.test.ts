import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Transaction } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { readDefinition } from '../../src/records/definitions.ts';
import { readFence } from '../../src/records/fence.ts';
import type { ModelKeys } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { createRecordCodec } from '../../src/records/record-codec.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, answers, cityId, cityOf, createMigrationRig, toCityV2 } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const cities = Array.from({ length: 60 }, (_, n) => cityOf(n));
const moves = backfill({ transform: toCityV2 });

/** The key that a record of the target lies under, without its prefix. */
const keyBytesOf = (n: number) => Buffer.concat([Buffer.of(2), Buffer.from(cityId(n)), Buffer.of(0)]);

interface Target {
  readonly keys: ModelKeys;
  readonly indexId: (name: string) => number;
  readonly records: Buffer;
  readonly schemaId: number;
}

/** Migrates as far as Verify, lets a hand meddle with the database, and goes on. */
async function meddle(
  hand: (tx: Transaction, target: Target) => Promise<void>,
  options: Partial<StoreOptions> = {},
) {
  await rig.seed(CityV1, cities);
  const all = { migrationHandler: { City: moves }, ...options };
  await rig.openUntil(
    { 1: CityV2 },
    all,
    ({ type, phase }) => type === 'PhaseCompleted' && phase === 'Backfill',
  );
  const keys = rig.keysOf(1);
  await rig.database.transact(async (tx) => {
    const fence = await readFence(tx, keys);
    const { schemaId = 0, keySpace = 0 } = fence?.target ?? {};
    const definition = await readDefinition(tx, keys, schemaId);
    await hand(tx, {
      keys,
      schemaId,
      records: keys.records(keySpace),
      indexId: (name) => definition?.indexes.find((index) => index.name === name)?.indexId ?? 0,
    });
  });
  return rig.open({ 1: CityV2 }, { ...all, continueMigrationsInBackground: true });
}

const firstRow = async (tx: Transaction, prefix: Buffer) => {
  const { begin, end } = rangeOf(prefix);
  const [row] = await tx.getRangeAll(begin, end, { limit: 1 });
  if (row === undefined) throw new Error('there is no row');
  return row;
};

type Store = Awaited<ReturnType<typeof meddle>>;

async function failureOf(store: Store): Promise<string> {
  const { state, phase, lastError } = await store.migrationStatus(1);
  expect({ state, phase, code: lastError?.code }).toEqual({
    state: 'Failed',
    phase: 'Verify',
    code: 'VERIFICATION_FAILED',
  });
  const message = lastError?.message ?? '';
  // Values are nobody's business.
  for (const { name, lat, lng } of cities) {
    expect(message).not.toContain(name);
    expect(message).not.toContain(Buffer.from(name).toString('hex'));
    if (lat.length > 2) expect(message).not.toContain(` ${lat} `);
    if (lng.length > 2) expect(message).not.toContain(` ${lng} `);
  }
  await expect(store.model(CityV2).get(cityId(1))).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
  return message;
}

describe('verification', () => {
  it('passes when nobody meddled', async () => {
    const store = await meddle(() => Promise.resolve());
    expect(await store.model(CityV2).count()).toBe(cities.length);
  });

  it('finds an index entry that is missing', async () => {
    const store = await meddle(async (tx, { keys, indexId }) => {
      tx.clear((await firstRow(tx, keys.index(indexId('byLatitude')))).key);
    });
    expect(await failureOf(store)).toContain('index byLatitude has 59 entries, where the records demand 60');
  });

  it('finds an index entry too many', async () => {
    const store = await meddle((tx, { keys, indexId }) => {
      tx.set(Buffer.concat([keys.index(indexId('byName')), Buffer.of(2, 65, 0)]), Buffer.of(8));
      return Promise.resolve();
    });
    expect(await failureOf(store)).toContain('index byName has 61 entries, where the records demand 60');
  });

  it('finds an index entry in the place of another', async () => {
    const store = await meddle(async (tx, { keys, indexId }) => {
      const { key, value } = await firstRow(tx, keys.index(indexId('byName')));
      tx.clear(key);
      key[key.length - 2] = 0x7a;
      tx.set(key, value);
    });
    expect(await failureOf(store)).toContain('60 entries, where the records demand 60 others');
  });

  it('finds a record that cannot be decoded, and names its key', async () => {
    const store = await meddle((tx, { records }) => {
      tx.set(Buffer.concat([records, keyBytesOf(7)]), Buffer.from('nonsense'));
      return Promise.resolve();
    });
    const message = await failureOf(store);
    expect(message).toContain('1 records do not meet the new definition');
    expect(message).toContain(keyBytesOf(7).toString('hex'));
  });

  it('finds a record that does not validate', async () => {
    const store = await meddle((tx, { records, schemaId }) => {
      const record = { id: cityId(7), name: 'city 0', latitude: 91, longitude: 0 };
      const codec = createRecordCodec({
        name: 'City',
        version: '2.0',
        key: ['id'],
        properties: [
          { name: 'id', number: 1, type: { kind: 'string' }, required: true, alternativeNames: [] },
          { name: 'name', number: 2, type: { kind: 'string' }, required: true, alternativeNames: [] },
          { name: 'latitude', number: 3, type: { kind: 'float64' }, required: true, alternativeNames: [] },
          { name: 'longitude', number: 4, type: { kind: 'float64' }, required: true, alternativeNames: [] },
        ],
        reservedNumbers: [],
        reservedNames: [],
        indexes: [],
        embedded: {},
      });
      tx.set(Buffer.concat([records, keyBytesOf(7)]), codec.encode(record, schemaId));
      return Promise.resolve();
    });
    expect(await failureOf(store)).toContain('1 records do not meet the new definition');
  });

  it('finds a record that lies under the key of another', async () => {
    const store = await meddle(async (tx, { records }) => {
      const other = await tx.get(Buffer.concat([records, keyBytesOf(8)]));
      tx.set(Buffer.concat([records, keyBytesOf(7)]), other ?? Buffer.of());
    });
    expect(await failureOf(store)).toContain(keyBytesOf(7).toString('hex'));
  });

  it('finds that a record is gone', async () => {
    const store = await meddle((tx, { records }) => {
      tx.clear(Buffer.concat([records, keyBytesOf(7)]));
      return Promise.resolve();
    });
    expect(await failureOf(store)).toContain('59 records are there, but 60 were moved');
  });

  it('finds that a record is gone with all of its index entries: only the count tells', async () => {
    const store = await meddle(async (tx, { keys, records, indexId }) => {
      tx.clear(Buffer.concat([records, keyBytesOf(7)]));
      for (const name of ['byName', 'byLatitude']) {
        const { begin, end } = rangeOf(keys.index(indexId(name)));
        for (const { key } of await tx.getRangeAll(begin, end)) {
          if (key.subarray(-keyBytesOf(7).length).equals(keyBytesOf(7))) tx.clear(key);
        }
      }
    });
    const message = await failureOf(store);
    expect(message).toContain('59 records are there, but 60 were moved');
    expect(message).not.toContain('index by');
  });

  it('names 20 keys at most, however much is wrong', async () => {
    const store = await meddle((tx, { records }) => {
      for (let n = 0; n < 60; n += 1) tx.set(Buffer.concat([records, keyBytesOf(n)]), Buffer.of(0));
      return Promise.resolve();
    });
    const { lastError } = await store.migrationStatus(1);
    expect(lastError?.message).toContain('60 records do not meet');
    const keys = /First keys: (.*)\./.exec(lastError?.message ?? '')?.[1]?.split(', ');
    expect(keys).toHaveLength(20);
  });

  it('runs before the hook, which is not called when it fails', async () => {
    const hook = answers();
    await meddle(
      (tx, { records }) => {
        tx.set(Buffer.concat([records, keyBytesOf(7)]), Buffer.of(0));
        return Promise.resolve();
      },
      { migrationVerifyHandler: hook },
    );
    expect(hook.calls).toHaveLength(0);
  });

  it('is not enough where the hook fails: Contract is not begun', async () => {
    await rig.seed(CityV1, cities);
    const contract = answers();
    const opening = rig.open(
      { 1: CityV2 },
      {
        migrationHandler: { City: moves },
        migrationVerifyHandler: answers(MigrationOutcome.Fatal('not as it should be')),
        migrationContractHandler: contract,
      },
    );
    await expect(opening).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
    expect(await rig.stateOf(1)).toMatchObject({ phase: 'Verify', status: 'Failed', phaseCompleted: false });
    expect(contract.calls).toHaveLength(0);
  });

  it('looks again when an operator resumes, and passes once the cause is mended', async () => {
    let removed: { key: Buffer; value: Buffer } | undefined;
    const store = await meddle(async (tx, { keys, indexId }) => {
      removed = await firstRow(tx, keys.index(indexId('byLatitude')));
      tx.clear(removed.key);
    });
    await failureOf(store);
    await store.resumeMigration(1);
    await expect(rig.settle(store.awaitMigration(1))).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
    await rig.database.transact((tx) => {
      if (removed !== undefined) tx.set(removed.key, removed.value);
      return Promise.resolve();
    });
    await store.resumeMigration(1);
    await rig.settle(store.awaitMigration(1));
    expect(await store.model(CityV2).count()).toBe(cities.length);
  });
});

describe('verification of a sample', () => {
  it('of all records finds what is wrong with each of them', async () => {
    const store = await meddle(
      async (tx, { records, keys, indexId }) => {
        tx.set(Buffer.concat([records, keyBytesOf(7)]), Buffer.of(0));
        tx.clear((await firstRow(tx, keys.index(indexId('byLatitude')))).key);
      },
      { migrationVerification: { sampleRatio: 1 } },
    );
    const message = await failureOf(store);
    expect(message).toContain('1 records do not meet the new definition');
    expect(message).toContain('index byLatitude has 59 entries, where the records demand 59 others');
    expect(message).toMatch(/missing: 1, of [0-9a-f]+\)/);
  });

  it('of some of them looks at some of them', async () => {
    const store = await meddle(
      (tx, { records }) => {
        for (let n = 0; n < 60; n += 1) tx.set(Buffer.concat([records, keyBytesOf(n)]), Buffer.of(0));
        return Promise.resolve();
      },
      { migrationVerification: { sampleRatio: 0.5 } },
    );
    const found = Number(/(\d+) records do not meet/.exec(await failureOf(store))?.[1]);
    expect(found).toBeGreaterThan(10);
    expect(found).toBeLessThan(50);
  });

  it('does not miss records that nobody meddled with', async () => {
    const store = await meddle(() => Promise.resolve(), { migrationVerification: { sampleRatio: 0.3 } });
    expect(await store.model(CityV2).count()).toBe(cities.length);
  });
});

describe('without verification', () => {
  it('nobody looks', async () => {
    const store = await meddle(
      (tx, { records }) => {
        tx.clear(Buffer.concat([records, keyBytesOf(7)]));
        return Promise.resolve();
      },
      { migrationVerification: 'off' },
    );
    expect(await store.model(CityV2).count()).toBe(59);
  });

  it('the hook is called all the same', async () => {
    const hook = answers();
    await meddle(() => Promise.resolve(), { migrationVerification: 'off', migrationVerifyHandler: hook });
    expect(hook.calls).toHaveLength(1);
  });
});

describe('a limit that is tightened', () => {
  const town = (version: string, maxSize: number | undefined) =>
    defineModel({
      name: 'Town',
      version,
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        name: string({ number: 2, required: true, ...(maxSize === undefined ? {} : { maxSize }) }),
        people: int32({ number: 3 }),
      },
      indexes: [{ name: 'byName', on: ['name'] }],
    });
  const loose = town('1.0', undefined);
  const tight = town('1.1', 6);
  const towns = Array.from({ length: 30 }, (_, n) => ({ id: cityId(n), name: `town${n % 9}`, people: n }));
  const schemaIds = async () => {
    const { begin, end } = rangeOf(rig.keysOf(1).records(1));
    const rows = await rig.database.transact((tx) => tx.getRangeAll(begin, end));
    return new Set(rows.map(({ value }) => value[2]));
  };

  it.each([
    ['a hook of Verify alone', { migrationVerifyHandler: answers() }, new Set([1])],
    [
      'backfill({ unchanged: true })',
      { migrationHandler: { Town: backfill({ unchanged: true }) } },
      new Set([2]),
    ],
    [
      'a handler that has nothing to do',
      { migrationHandler: { Town: () => Promise.resolve(MigrationOutcome.Success) } },
      new Set([1]),
    ],
  ])('is published where all data meet it: %s', async (_how, options, written) => {
    await rig.seed(loose, towns);
    const store = await rig.open({ 1: tight }, options as Partial<StoreOptions>);
    expect(await schemaIds()).toEqual(written);
    expect(await store.model(tight).scan().toArray()).toEqual(towns);
    await expect(store.model(tight).add({ id: 'x', name: 'too long' })).rejects.toMatchObject({
      code: 'RECORD_INVALID',
    });
    await store.model(tight).change(cityId(3), { people: 7 });
    for (const { state, expected, actual } of await rig.indexes(1, tight)) {
      expect(state).toBe('ready');
      expect(actual).toEqual(expected);
    }
  });

  it.each([
    ['Verify', 'VERIFICATION_FAILED', { migrationVerifyHandler: answers() }],
    ['Backfill', 'TRANSFORM_REJECTED', { migrationHandler: { Town: backfill({ unchanged: true }) } }],
  ])('fails in %s where one record does not', async (phase, code, options) => {
    await rig.seed(loose, [...towns, { id: 'z', name: 'much too long' }]);
    const store = await rig.open(
      { 1: tight },
      { ...(options as Partial<StoreOptions>), continueMigrationsInBackground: true },
    );
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Failed', phase, lastError: { code } });
  });
});
