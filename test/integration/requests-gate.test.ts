import { afterEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import { KeyValueError } from '../../src/kv/kv.ts';
import {
  defineEmbedded,
  defineModel,
  embedded,
  enumeration,
  float64,
  int32,
  string,
} from '../../src/model/index.ts';
import type { ConfiguredModel } from '../../src/records/configured-model.ts';
import type { StoredDefinition } from '../../src/records/definitions.ts';
import { readDefinition, writeDefinition } from '../../src/records/definitions.ts';
import type { Fence } from '../../src/records/fence.ts';
import { readFence, writeFence } from '../../src/records/fence.ts';
import { createModelView } from '../../src/records/model-view.ts';
import { createRecordAccess } from '../../src/records/record-access.ts';
import { schemaIdOf } from '../../src/records/record-codec.ts';
import { overriding } from '../rig/overriding.ts';
import { recomputeIndexes } from '../rig/recompute-index.ts';
import { openProgram } from '../rig/requests.ts';

const id = string({ number: 1, required: true });

const V1 = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: {
    id,
    name: string({ number: 2, required: true, maxSize: 10 }),
    size: enumeration({ number: 3, cases: { small: 1 } }),
  },
  indexes: [{ name: 'byName', on: ['name'] }],
});

/** Compatible with V1: a rename with an alias, an optional property, a case, an index; a relaxed limit. */
const V1dot1 = defineModel({
  name: 'City',
  version: '1.1',
  key: ['id'],
  properties: {
    id,
    title: string({ number: 2, required: true, maxSize: 20, alternativeNames: ['name'] }),
    size: enumeration({ number: 3, cases: { small: 1, large: 2 } }),
    people: int32({ number: 4 }),
  },
  indexes: [
    { name: 'byName', on: ['title'] },
    { name: 'byPeople', on: [{ property: 'people', reversed: true }, 'size'] },
  ],
});

/** Not compatible with either. */
const V2 = defineModel({
  name: 'City',
  version: '2.0',
  key: ['id'],
  properties: { id, name: float64({ number: 2, required: true }) },
});

let open: KeyValueDatabase | undefined;
afterEach(() => open?.close());

async function openV1() {
  const program = await openProgram({ 1: V1 });
  open = program.database;
  return program;
}

/** Publishes a definition behind the next epoch, as another node would. */
async function publish(
  database: Pick<KeyValueDatabase, 'transact'>,
  { data, hash, keys }: ConfiguredModel,
  lineage: number,
): Promise<void> {
  await database.transact(async (tx) => {
    const fence = (await readFence(tx, keys)) as Fence;
    const schemaId = fence.nextSchemaId;
    const stored = (await readDefinition(tx, keys, fence.schemaId)) as StoredDefinition;
    let nextIndexId = fence.nextIndexId;
    const indexes = data.indexes.map(
      ({ name }) =>
        stored.indexes.find((index) => index.name === name) ?? {
          name,
          indexId: nextIndexId++,
          state: 'building' as const,
        },
    );
    writeDefinition(tx, keys, {
      schemaId,
      hash,
      version: data.version,
      lineage,
      published: true,
      data,
      indexes,
    });
    const schemaEpoch = fence.schemaEpoch + 1;
    await writeFence(tx, keys, {
      ...fence,
      schemaEpoch,
      lineage,
      schemaId,
      nextSchemaId: schemaId + 1,
      nextIndexId,
    });
  });
}

async function turnFence(
  database: Pick<KeyValueDatabase, 'transact'>,
  { keys }: ConfiguredModel,
): Promise<void> {
  await database.transact(async (tx) => {
    const fence = (await readFence(tx, keys)) as Fence;
    const target = { migrationId: 'City:1.0->2.0#abc', schemaId: 2, keySpace: 1 };
    await writeFence(tx, keys, { ...fence, schemaEpoch: fence.schemaEpoch + 1, state: 'migrating', target });
  });
}

describe('the gate', () => {
  it('refuses every request while the fence says migrating, and says when to come back', async () => {
    const { database, configured, beside } = await openV1();
    const estimate = () => ({ retryAfterMs: 99_999, etaMs: 120_000 });
    const program = beside({ 1: V1 }, { estimate });
    await program.model(V1).add({ id: 'a', name: 'Bern' });
    await turnFence(database, configured(V1));
    const refusal = {
      code: 'MODEL_MIGRATING',
      retryable: true,
      details: {
        modelId: 1,
        modelName: 'City',
        migrationId: 'City:1.0->2.0#abc',
        retryAfterMs: 30_000,
        etaMs: 120_000,
      },
    };
    await expect(program.model(V1).get('a')).rejects.toMatchObject(refusal);
    await expect(program.model(V1).put({ id: 'a', name: 'Biel' })).rejects.toMatchObject(refusal);
    await expect(program.model(V1).scan().page()).rejects.toMatchObject(refusal);
    await expect(program.transact((tx) => tx.model(V1).delete('a'))).rejects.toMatchObject(refusal);
  });

  it('asks callers to come back after a second where nobody knows better', async () => {
    const { database, configured, model } = await openV1();
    await turnFence(database, configured(V1));
    await expect(model(V1).get('a')).rejects.toMatchObject({ details: { retryAfterMs: 1_000, etaMs: null } });
  });

  it('serves the model again when the fence turns back', async () => {
    const { database, configured, model } = await openV1();
    const { keys } = configured(V1);
    await turnFence(database, configured(V1));
    await expect(model(V1).get('a')).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
    await database.transact(async (tx) => {
      const fence = (await readFence(tx, keys)) as Fence;
      await writeFence(tx, keys, { ...fence, state: 'ready', target: null });
    });
    expect(await model(V1).get('a')).toBeUndefined();
  });

  it('does not let a write commit that was in flight when the fence turned', async () => {
    const { database, configured, beside } = await openV1();
    let attempts = 0;
    const between: Pick<KeyValueDatabase, 'transact'> = {
      transact: (body, options) =>
        database.transact(async (tx) => {
          const result = await body(tx);
          attempts += 1;
          if (attempts === 1) await turnFence(database, configured(V1));
          return result;
        }, options),
    };
    const program = beside({ 1: V1 }, {}, between);
    await expect(program.model(V1).add({ id: 'a', name: 'Bern' })).rejects.toMatchObject({
      code: 'MODEL_MIGRATING',
    });
    expect(attempts).toBe(1);
    const { keys } = configured(V1);
    const rows = await database.transact((tx) =>
      tx.getRangeAll(keys.records(1), Buffer.concat([keys.records(1), Buffer.of(0xff)])),
    );
    expect(rows).toEqual([]);
  });

  it('refuses the model to a newer program whose migration has not begun, and serves the older one', async () => {
    const { model, beside } = await openV1();
    const newer = beside({ 1: V2 });
    await model(V1).add({ id: 'a', name: 'Bern' });
    await expect(newer.model(V2).get('a')).rejects.toMatchObject({
      code: 'MODEL_MIGRATING',
      details: { migrationId: null },
    });
    expect(await model(V1).get('a')).toEqual({ id: 'a', name: 'Bern' });
  });

  it('does not take a program for an older one whose definition was stored, but never published', async () => {
    const { database, beside } = await openV1();
    const newer = beside({ 1: V2 });
    const { data, hash, keys } = newer.configured(V2);
    const target = { schemaId: 2, hash, version: '2.0', lineage: 2, published: false, data, indexes: [] };
    await database.transact(async (tx) => writeDefinition(tx, keys, target));
    await expect(newer.model(V2).get('a')).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
  });

  it('tells an older program that the schema has changed once the migration is published', async () => {
    const { database, model, beside } = await openV1();
    await model(V1).get('a');
    const newer = beside({ 1: V2 });
    await publish(database, newer.configured(V2), 2);
    await expect(model(V1).get('a')).rejects.toMatchObject({
      code: 'MODEL_SCHEMA_CHANGED',
      retryable: false,
      details: { storedVersion: '2.0', configuredVersion: '1.0' },
    });
    await newer.model(V2).add({ id: 'a', name: 2.5 });
    expect(await newer.model(V2).get('a')).toEqual({ id: 'a', name: 2.5 });
  });

  it('calls a fence that is gone corruption', async () => {
    const { database, configured, model } = await openV1();
    await database.transact(async (tx) => tx.clear(configured(V1).keys.fence));
    await expect(model(V1).get('a')).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  });

  it('lets those pass whom it is told to admit', async () => {
    const { database, configured, model, beside } = await openV1();
    await model(V1).add({ id: 'a', name: 'Bern' });
    await turnFence(database, configured(V1));
    const admitted = beside(
      { 1: V1 },
      {
        admit: async (tx: Transaction, configuredModel, fence) => {
          const definition = (await readDefinition(
            tx,
            configuredModel.keys,
            fence.schemaId,
          )) as StoredDefinition;
          return createRecordAccess(createModelView(configuredModel, fence, definition));
        },
      },
    );
    expect(await admitted.model(V1).get('a')).toEqual({ id: 'a', name: 'Bern' });
  });
});

describe('a compatible older program', () => {
  it('serves the model and maintains the indexes that were added without it', async () => {
    const { database, model, configured, beside } = await openV1();
    await model(V1).add({ id: 'a', name: 'Bern' });
    const newer = beside({ 1: V1dot1 });
    await publish(database, newer.configured(V1dot1), 1);
    await newer.model(V1dot1).put({ id: 'a', title: 'Bern', people: 5, size: 'large' });
    await model(V1).change('a', { name: 'Biel' });
    await model(V1).add({ id: 'b', name: 'Chur' });
    for (const { expected, actual } of await recomputeIndexes(database, configured(V1).keys)) {
      expect(expected).toHaveLength(2);
      expect(actual).toEqual(expected);
    }
    expect(
      await model(V1)
        .scan({ by: 'byName', where: { name: 'Biel' } })
        .toArray(),
    ).toHaveLength(1);
  });

  it('loses no property that it does not know, neither by change nor by put', async () => {
    const { database, model, configured, beside } = await openV1();
    const newer = beside({ 1: V1dot1 });
    await publish(database, newer.configured(V1dot1), 1);
    await newer.model(V1dot1).add({ id: 'a', title: 'Bern', people: 5 });
    await model(V1).change('a', { name: 'Biel' });
    expect(await newer.model(V1dot1).get('a')).toEqual({ id: 'a', title: 'Biel', people: 5 });
    await model(V1).put({ id: 'a', name: 'Chur', size: 'small' });
    expect(await newer.model(V1dot1).get('a')).toEqual({ id: 'a', title: 'Chur', people: 5, size: 'small' });
    for (const { expected, actual } of await recomputeIndexes(database, configured(V1).keys)) {
      expect(actual).toEqual(expected);
    }
  });

  it('keeps a case that it does not know, and validates only what it writes', async () => {
    const { database, model, beside } = await openV1();
    const newer = beside({ 1: V1dot1 });
    await publish(database, newer.configured(V1dot1), 1);
    await newer.model(V1dot1).add({ id: 'a', title: 'longer than ten', size: 'large' });
    expect(await model(V1).get('a')).toEqual({ id: 'a', name: 'longer than ten', size: 2 });
    await model(V1).change('a', { size: undefined });
    await newer.model(V1dot1).change('a', { size: 'large' });
    await model(V1).change('a', { name: 'Bern' });
    expect(await newer.model(V1dot1).get('a')).toEqual({ id: 'a', title: 'Bern', size: 'large' });
    const read = await model(V1).get('a');
    await model(V1).put({ ...read!, name: 'Biel' });
    expect(await newer.model(V1dot1).get('a')).toEqual({ id: 'a', title: 'Biel', size: 'large' });
    await expect(model(V1).change('a', { name: 'longer than ten' })).rejects.toMatchObject({
      code: 'RECORD_INVALID',
    });
  });

  it('writes under the definition that is published', async () => {
    const { database, model, configured, beside } = await openV1();
    const newer = beside({ 1: V1dot1 });
    await publish(database, newer.configured(V1dot1), 1);
    await model(V1).add({ id: 'a', name: 'Bern' });
    const city = configured(V1);
    const recordKey = Buffer.concat([city.keys.records(1), city.acceptKey('a')]);
    const bytes = await database.transact((tx) => tx.get(recordKey));
    expect(schemaIdOf(bytes!)).toBe(2);
  });

  it('a newer compatible program serves by its own names before it is published', async () => {
    const { model, beside } = await openV1();
    await model(V1).add({ id: 'a', name: 'Bern' });
    const newer = beside({ 1: V1dot1 });
    expect(await newer.model(V1dot1).get('a')).toEqual({ id: 'a', title: 'Bern' });
    await newer.model(V1dot1).change('a', { people: 3 });
    expect(await model(V1).get('a')).toEqual({ id: 'a', name: 'Bern' });
    expect(
      await newer
        .model(V1dot1)
        .scan({ by: 'byName', where: { title: 'Bern' } })
        .toArray(),
    ).toEqual([{ id: 'a', title: 'Bern', people: 3 }]);
    await expect(newer.model(V1dot1).count({ by: 'byPeople' })).rejects.toMatchObject({
      code: 'INDEX_UNKNOWN',
    });
  });

  it('keeps what it does not know inside an embedded value that it replaces', async () => {
    const version = (minor: number, properties: Parameters<typeof defineEmbedded>[0]['properties']) =>
      defineModel({
        name: 'Person',
        version: `1.${minor}`,
        key: ['id'],
        properties: {
          id,
          home: embedded({ number: 2, model: defineEmbedded({ name: 'Home', properties }) }),
        },
      });
    const older = version(0, { street: string({ number: 1 }) });
    const newer = version(1, { street: string({ number: 1 }), floor: int32({ number: 2 }) });
    const first = await openProgram({ 1: older });
    open = first.database;
    const second = first.beside({ 1: newer });
    await publish(first.database, second.configured(newer), 1);
    await second.model(newer).add({ id: 'a', home: { street: 'x', floor: 4 } } as never);
    const home = { street: 'y' };
    await first.model(older).put({ id: 'a', home } as never);
    expect(await second.model(newer).get('a')).toEqual({ id: 'a', home: { street: 'y', floor: 4 } });
    await first.model(older).change('a', { home: { street: 'z' } } as never);
    expect(await second.model(newer).get('a')).toEqual({ id: 'a', home: { street: 'z', floor: 4 } });
    await first.model(older).put({ id: 'b', home } as never);
    expect(await second.model(newer).get('b')).toEqual({ id: 'b', home: { street: 'y' } });
  });
});

describe('a transaction whose result is unknown', () => {
  /** Runs each body twice, as after 1021; the first attempt was applied or not. */
  function createUncertain(database: KeyValueDatabase, applied: boolean): Pick<KeyValueDatabase, 'transact'> {
    return {
      async transact(body) {
        const first = database.createTransaction();
        await body(first);
        if (applied) await first.commit();
        first.cancel();
        const second = database.createTransaction();
        const result = await body(overriding(second, { afterUnknownResult: true }));
        await second.commit();
        second.cancel();
        return result;
      },
    };
  }

  it.each([true, false])('is recognised by what it wrote (applied: %s)', async (applied) => {
    const { database, model, beside } = await openV1();
    const program = beside({ 1: V1 }, {}, createUncertain(database, applied));
    await program.model(V1).add({ id: 'a', name: 'B' });
    expect(await program.model(V1).change('a', ({ name }) => ({ name: `${name}!` }))).toEqual({
      id: 'a',
      name: 'B!',
    });
    expect(await model(V1).get('a')).toEqual({ id: 'a', name: 'B!' });
    await program.model(V1).put({ id: 'a', name: 'C' });
    expect(await model(V1).get('a')).toEqual({ id: 'a', name: 'C' });
    expect(await program.model(V1).delete('a')).toBe(true);
    expect(await program.model(V1).delete('a')).toBe(false);
  });

  it.each([true, false])(
    'runs the body of transact again, which finds what it wrote (applied: %s)',
    async (applied) => {
      const { database, beside } = await openV1();
      const program = beside({ 1: V1 }, {}, createUncertain(database, applied));
      const found: unknown[] = [];
      await program.transact(async (tx) => {
        found.push(await tx.model(V1).get('a'));
        await tx.model(V1).put({ id: 'a', name: 'B' });
      });
      expect(found).toEqual([undefined, applied ? { id: 'a', name: 'B' } : undefined]);
    },
  );

  it('still refuses to add where another record is', async () => {
    const { database, model, beside } = await openV1();
    const program = beside({ 1: V1 }, {}, createUncertain(database, false));
    await model(V1).add({ id: 'a', name: 'B' });
    await expect(program.model(V1).add({ id: 'a', name: 'C' })).rejects.toMatchObject({
      code: 'RECORD_EXISTS',
    });
  });

  it('comes out as STORAGE_FAILED with its code when the driver gives up', async () => {
    const { beside } = await openV1();
    const failing = { transact: () => Promise.reject(new KeyValueError(1021)) };
    const program = beside({ 1: V1 }, {}, failing);
    await expect(program.model(V1).get('a')).rejects.toMatchObject({
      name: 'StorageException',
      code: 'STORAGE_FAILED',
      details: { code: 1021 },
    });
  });
});
