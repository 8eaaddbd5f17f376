import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { readStoredModel } from '../../src/migration/plan.ts';
import type { VerifyPublishedOptions } from '../../src/migration/verify-published.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { openStored } from '../../src/store/open-stored.ts';
import type { World } from '../rig/operators.ts';
import { codeOf, createWorld, townId, TownV1, TownV2, toV2 } from '../rig/operators.ts';

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.close());

type Options = Omit<VerifyPublishedOptions, 'database' | 'clock' | 'configure'>;

/** @param between called before each transaction, with its number from 0 */
async function verify(
  options: Options = {},
  between: (transaction: number) => Promise<void> = () => Promise.resolve(),
) {
  let transactions = 0;
  const database: KeyValueDatabase = {
    engine: world.database.engine,
    createTransaction: (given) => world.database.createTransaction(given),
    async transact(body, given) {
      await between(transactions++);
      return world.database.transact(body, given);
    },
    close: () => Promise.resolve(),
  };
  const stored = await openStored({ database, subspace: world.subspace });
  try {
    return await stored.verify(1, options);
  } finally {
    await stored.close();
  }
}

const keyBytesOf = (id: string) => Buffer.concat([Buffer.of(2), Buffer.from(id), Buffer.of(0)]);

/** The hand of somebody who writes into the database beside the store. */
async function meddle(
  hand: (tx: Transaction, prefixes: { readonly records: Buffer; readonly byLat: Buffer }) => Promise<void>,
): Promise<void> {
  await world.database.transact(async (tx) => {
    const found = await readStoredModel(tx, world.keys);
    if (found === undefined) throw new Error('the model was to be published');
    const { fence, current } = found;
    const [index] = current.indexes;
    await hand(tx, {
      records: world.keys.records(fence.keySpace),
      byLat: world.keys.index(index?.indexId ?? 0),
    });
  });
}

const rowsOf = (tx: Transaction, prefix: Buffer) => {
  const { begin, end } = rangeOf(prefix);
  return tx.getRangeAll(begin, end);
};

describe('verifying what is published', () => {
  it('finds nothing where all is in order, and says how far it is', async () => {
    await world.fill(700);
    const seen: number[] = [];
    const report = await verify({ onProgress: (fraction) => seen.push(fraction) });
    expect(report).toEqual({
      modelId: 1,
      modelName: 'Town',
      version: '1.0',
      passed: true,
      sampleRatio: 1,
      seed: 0,
      records: { checked: 700, findings: 0, first: [] },
      indexes: [
        {
          name: 'byLat',
          building: false,
          demanded: 700,
          checked: 700,
          missing: { count: 0, first: [] },
          unexpected: { count: 0, first: [] },
        },
      ],
    });
    expect(seen.length).toBeGreaterThan(4);
    expect(seen).toEqual(seen.toSorted((left, right) => left - right));
    expect(seen.at(-1)).toBe(1);
  });

  it('names records and entries that are wrong by their keys, and none of their values', async () => {
    await world.fill(30);
    await meddle(async (tx, { records, byLat }) => {
      const entries = await rowsOf(tx, byLat);
      const entryOf = (n: number) => entries.find(({ key }) => key.includes(townId(n)));
      // One without its entry, one that is gone behind its entry, one that does not read.
      tx.clear(entryOf(3)?.key ?? Buffer.alloc(0));
      tx.clear(Buffer.concat([records, keyBytesOf(townId(5))]));
      tx.set(Buffer.concat([records, keyBytesOf(townId(8))]), Buffer.from('no record'));
      // A whole record under the key of another one.
      const [first] = await rowsOf(tx, records);
      tx.set(Buffer.concat([records, keyBytesOf('stray')]), first?.value ?? Buffer.alloc(0));
    });
    const report = await verify();
    const hex = (id: string) => keyBytesOf(id).toString('hex');
    expect(report.passed).toBe(false);
    expect(report.records).toMatchObject({ checked: 30, findings: 2 });
    expect(report.records.first.map(({ key }) => key).toSorted()).toEqual(
      [hex('stray'), hex(townId(8))].toSorted(),
    );
    expect(report.indexes).toMatchObject([
      {
        // The stray one would have an entry of its own.
        missing: { count: 2 },
        unexpected: { count: 1, first: [{ key: hex(townId(5)), problem: 'there is no such record' }] },
      },
    ]);
    expect(report.indexes[0]?.missing.first.map(({ key }) => key)).toContain(hex(townId(3)));
    expect(JSON.stringify(report)).not.toContain('"lat"');
  });

  it('draws a sample by the keys, the same one each time', async () => {
    await world.fill(700);
    const tenth = await verify({ sampleRatio: 0.1 });
    expect(tenth.records.checked).toBeGreaterThan(30);
    expect(tenth.records.checked).toBeLessThan(150);
    expect(await verify({ sampleRatio: 0.1 })).toEqual(tenth);
    expect(await verify({ sampleRatio: 0.1, seed: 1 })).not.toMatchObject({ records: tenth.records });
  });

  it('goes through while others write, and takes nothing of it for a finding', async () => {
    await world.fill(700);
    const store = await world.open({ dataModelsById: { 1: TownV1 } });
    const towns = store.model(TownV1);
    let written = 0;
    const report = await verify({}, async (transaction) => {
      for (const n of [transaction, 350 + transaction, 690 - transaction]) {
        await towns.change(townId(n), { lat: `9${transaction}` });
        written += 1;
      }
      await towns.put({ id: `new-${transaction}`, lat: '1' });
    });
    expect(written).toBeGreaterThan(20);
    expect(report).toMatchObject({ passed: true });
    expect(report.records.checked).toBeGreaterThanOrEqual(700);
  });

  it('begins anew by another definition where that is published meanwhile', async () => {
    await world.fill(700);
    const WithPeople = defineModel({
      name: 'Town',
      version: '1.1',
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        lat: string({ number: 2, required: true }),
        people: int32({ number: 3 }),
      },
      indexes: [
        { name: 'byLat', on: ['lat'] },
        { name: 'byPeople', on: ['people'] },
      ],
    });
    const report = await verify({}, async (transaction) => {
      if (transaction !== 5) return;
      const store = await world.open({ dataModelsById: { 1: WithPeople } });
      await store.model(WithPeople).put({ id: townId(0), lat: '1', people: 7 });
      await store.close();
    });
    expect(report).toMatchObject({ version: '1.1', passed: true, records: { checked: 700 } });
    expect(report.indexes).toMatchObject([
      { name: 'byLat', building: false, checked: 700 },
      { name: 'byPeople', building: false, checked: 700 },
    ]);
  });

  it('is refused while the model is being migrated, also where that begins meanwhile', async () => {
    await world.fill(300);
    const migrate = async () => {
      const store = await world.open({
        dataModelsById: { 1: TownV2 },
        migrationHandler: backfill({ transform: toV2 }),
        migrationStartupBudgetMs: 0,
        continueMigrationsInBackground: true,
        migrationContractHandler: ({ signal }) =>
          new Promise<never>((_, reject) => {
            signal.addEventListener('abort', () => reject(new Error('the store closes')));
          }),
      });
      return store;
    };
    const closed = verify({}, async (transaction) => {
      if (transaction === 4) await migrate();
    });
    expect(await codeOf(closed)).toBe('MODEL_MIGRATING');
    expect(await codeOf(verify())).toBe('MODEL_MIGRATING');
  });

  it('ends when it is told to', async () => {
    await world.fill(300);
    const end = new AbortController();
    const ended = verify({ signal: end.signal }, (transaction) => {
      if (transaction === 4) end.abort();
      return Promise.resolve();
    });
    expect(await codeOf(ended)).toBe('ABORTED');
  });
});
