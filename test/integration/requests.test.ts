import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  bytes,
  defineEmbedded,
  defineModel,
  embedded,
  enumeration,
  float64,
  int64,
  list,
  reference,
  string,
  timestamp,
} from '../../src/model/index.ts';
import { dump, recomputeIndexes } from '../rig/recompute-index.ts';
import { openProgram } from '../rig/requests.ts';

const Country = defineModel({
  name: 'Country',
  version: '1.0',
  key: ['code'],
  properties: { code: string({ number: 1, required: true, minSize: 2, maxSize: 2 }) },
});

const Mayor = defineEmbedded({ name: 'Mayor', properties: { name: string({ number: 1, required: true }) } });

const City = defineModel({
  name: 'City',
  version: '1.0',
  key: ['country', 'id'],
  properties: {
    country: reference({ number: 1, to: Country, required: true }),
    id: int64({ number: 2, required: true }),
    name: string({ number: 3, required: true, maxSize: 20 }),
    latitude: float64({ number: 4, min: -90, max: 90 }),
    founded: timestamp({ number: 5 }),
    tags: list({ number: 6, of: string(), maxSize: 5 }),
    size: enumeration({ number: 7, cases: { small: 1, large: 2 } }),
    coat: bytes({ number: 8 }),
    mayor: embedded({ number: 9, model: Mayor }),
    postcode: string({ number: 10 }),
  },
  indexes: [
    { name: 'byName', on: ['name', { property: 'latitude', reversed: true }] },
    { name: 'byTag', on: ['tags', 'name'] },
    { name: 'byPostcode', on: ['postcode'], unique: true },
  ],
});

const bern = {
  country: 'CH',
  id: 7n,
  name: 'Bern',
  latitude: 46.9,
  founded: new Date('1191-01-01'),
  tags: ['capital', 'river'],
  size: 'small',
  coat: Uint8Array.of(1, 2, 3),
  mayor: { name: 'Alec' },
  postcode: '3000',
} as const;
const key = { country: 'CH', id: 7n };

let program: Awaited<ReturnType<typeof openProgram>>;
beforeEach(async () => {
  program = await openProgram({ 1: Country, 2: City });
});
afterEach(() => program.database.close());

const cities = () => program.model(City);
const snapshot = () => dump(program.database, program.keys.prefix);
const checkIndexes = async () => {
  for (const { expected, actual } of await recomputeIndexes(program.database, program.keys.model(2))) {
    expect(actual).toEqual(expected);
  }
};

function without<T extends object, Name extends keyof T>(record: T, name: Name): Omit<T, Name> {
  const rest = { ...record };
  delete rest[name];
  return rest;
}

describe('single requests', () => {
  it('reads what was added, with every type as it was', async () => {
    await cities().add(bern);
    expect(await cities().get(key)).toEqual(bern);
    expect(await cities().get({ country: 'CH', id: 8n })).toBeUndefined();
    await checkIndexes();
  });

  it('adds no record where one is, and leaves that one alone', async () => {
    await cities().add(bern);
    const before = await snapshot();
    await expect(cities().add({ ...bern, name: 'Thun' })).rejects.toMatchObject({ code: 'RECORD_EXISTS' });
    expect(await snapshot()).toEqual(before);
  });

  it('puts a record where none is and where one is', async () => {
    await cities().put(bern);
    const flat = { ...without(bern, 'latitude'), name: 'Thun', tags: ['lake'] };
    await cities().put(flat);
    expect(await cities().get(key)).toEqual(flat);
    await checkIndexes();
  });

  it('changes the given properties, removes those that are undefined, and answers the record', async () => {
    await cities().add(bern);
    const changed = await cities().change(key, { name: 'Biel', postcode: undefined });
    expect(changed).toEqual({ ...without(bern, 'postcode'), name: 'Biel' });
    expect(await cities().get(key)).toEqual(changed);
    await checkIndexes();
  });

  it('changes by a function of the record, even one that works in place', async () => {
    await cities().add(bern);
    await cities().change(key, (city) => {
      (city.tags as string[]).push('old');
      return { tags: city.tags };
    });
    expect((await cities().get(key))?.tags).toEqual(['capital', 'river', 'old']);
    await checkIndexes();
  });

  it('changes nothing that is not there', async () => {
    await expect(cities().change(key, { name: 'Biel' })).rejects.toMatchObject({ code: 'RECORD_NOT_FOUND' });
  });

  it('deletes a record with its index entries, and says whether there was one', async () => {
    await cities().add(bern);
    expect(await cities().delete(key)).toBe(true);
    expect(await cities().delete(key)).toBe(false);
    expect(await cities().get(key)).toBeUndefined();
    await checkIndexes();
  });

  it('takes a bare value for a key of one property', async () => {
    await program.model(Country).add({ code: 'CH' });
    expect(await program.model(Country).get('CH')).toEqual({ code: 'CH' });
  });

  it('loses no update of callers that change one record at once', async () => {
    await cities().add({ ...bern, latitude: 0 });
    const add = () => cities().change(key, (city) => ({ latitude: (city.latitude ?? 0) + 1 }));
    await Promise.all(Array.from({ length: 20 }, add));
    expect((await cities().get(key))?.latitude).toBe(20);
  });
});

describe('unique indexes', () => {
  it('refuse a second owner of a value and write nothing', async () => {
    await cities().add(bern);
    await cities().add({ ...bern, id: 8n, postcode: '3001' });
    const before = await snapshot();
    const violation = { code: 'UNIQUE_VIOLATION', details: { model: 'City', index: 'byPostcode' } };
    await expect(cities().add({ ...bern, id: 9n })).rejects.toMatchObject(violation);
    await expect(cities().put({ ...bern, id: 8n })).rejects.toMatchObject(violation);
    await expect(cities().change({ country: 'CH', id: 8n }, { postcode: '3000' })).rejects.toMatchObject(
      violation,
    );
    expect(await snapshot()).toEqual(before);
  });

  it('let go of a value that its owner gave up', async () => {
    await cities().add(bern);
    await cities().change(key, { postcode: '3001' });
    await cities().add({ ...bern, id: 8n });
    await cities().delete(key);
    await cities().add({ ...bern, id: 9n, postcode: '3001' });
    expect(await cities().count({ by: 'byPostcode' })).toBe(2);
    await checkIndexes();
  });

  it('take any number of records without a value', async () => {
    await cities().add(without(bern, 'postcode'));
    await cities().add({ ...without(bern, 'postcode'), id: 8n });
    expect(await cities().count({ by: 'byPostcode', where: { postcode: undefined } })).toBe(2);
    await checkIndexes();
  });

  it('let one of two win that add the same value at once', async () => {
    const adds = [1n, 2n, 3n, 4n].map((id) => cities().add({ ...bern, id }));
    const results = await Promise.allSettled(adds);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(await cities().count()).toBe(1);
    await checkIndexes();
  });
});

describe('bad input', () => {
  const refusals: readonly (readonly [string, () => Promise<unknown>, string])[] = [
    ['a value above its limit', () => cities().add({ ...bern, id: 1n, latitude: 91 }), 'latitude'],
    ['a value of another type', () => cities().put({ ...bern, name: 5 as never }), 'name'],
    ['a missing property', () => cities().add({ ...bern, id: 1n, name: undefined as never }), 'name'],
    ['an unknown property', () => cities().put({ ...bern, nmae: 'x' } as never), 'nmae'],
    ['an unknown case', () => cities().put({ ...bern, size: 'huge' as never }), 'size'],
    ['a bad element', () => cities().put({ ...bern, tags: ['a', 1 as never] }), 'tags'],
    ['a bad embedded value', () => cities().put({ ...bern, mayor: {} as never }), 'mayor'],
    ['a record that is none', () => cities().put('Bern' as never), 'object'],
    ['a change of another type', () => cities().change(key, { latitude: 'x' as never }), 'latitude'],
    ['a change that removes what is required', () => cities().change(key, { name: undefined }), 'name'],
    ['a change of the key', () => cities().change(key, { id: 8n }), 'id'],
    ['a change that is a promise', () => cities().change(key, (async () => ({})) as never), 'object'],
    ['a key of another type', () => cities().delete({ country: 'CH', id: 7 as never }), 'id'],
    ['a key without one of its properties', () => cities().get({ country: 'CH' } as never), 'id'],
    ['a bare key where there are two properties', () => cities().get('CH' as never), 'object'],
  ];

  it.each(refusals)('refuses %s, names model and property, and writes nothing', async (_, call, property) => {
    await cities().add(bern);
    const before = await snapshot();
    const error = await call().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      name: 'RequestException',
      code: 'RECORD_INVALID',
      details: { model: 'City' },
    });
    expect((error as Error).message).toContain('City');
    expect((error as Error).message).toContain(property);
    expect(await snapshot()).toEqual(before);
  });

  it('lists every violation, but never a value', async () => {
    const bad = { ...bern, latitude: 1234.5, name: 'a name that is much too long', postcode: 98765 as never };
    const error = await cities()
      .add(bad)
      .catch((thrown: Error) => thrown);
    const text = JSON.stringify(error) + String(error);
    for (const name of ['latitude', 'name', 'postcode']) expect(text).toContain(name);
    for (const value of ['1234.5', 'much too long', '98765']) expect(text).not.toContain(value);
  });

  it('lists ten violations at most and counts the others', async () => {
    const tags = Array.from({ length: 30 }, () => 0 as never);
    const error = await cities()
      .add({ ...bern, tags })
      .catch((thrown: unknown) => thrown);
    const { violations } = (error as { details: { violations: readonly unknown[] } }).details;
    expect(violations).toHaveLength(10);
    expect(String(error)).toMatch(/and \d+ more/);
  });

  it('refuses records, keys and index entries that are too large', async () => {
    const before = await snapshot();
    const coat = new Uint8Array(1_000_000);
    await expect(cities().add({ ...bern, coat })).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' });
    const postcode = 'x'.repeat(10_000);
    await expect(cities().add({ ...bern, postcode })).rejects.toMatchObject({ code: 'KEY_TOO_LARGE' });
    const country = 'x'.repeat(10_000);
    const refusal = expect.stringMatching(/KEY_TOO_LARGE|RECORD_INVALID/);
    await expect(cities().get({ country, id: 1n })).rejects.toMatchObject({ code: refusal });
    expect(await snapshot()).toEqual(before);
  });
});

describe('several requests in one transaction', () => {
  it('commits all of them together, and each sees those before it', async () => {
    const name = await program.transact(async (tx) => {
      await tx.model(Country).add({ code: 'CH' });
      await tx.model(City).add(bern);
      await tx.model(City).change(key, { name: 'Biel' });
      return (await tx.model(City).get(key))?.name;
    });
    expect(name).toBe('Biel');
    expect(await program.model(Country).count()).toBe(1);
    await checkIndexes();
  });

  it('commits none of them when the body throws, and throws that on', async () => {
    const before = await snapshot();
    const broken = new Error('broken');
    const call = program.transact(async (tx) => {
      await tx.model(City).add(bern);
      throw broken;
    });
    await expect(call).rejects.toBe(broken);
    expect(await snapshot()).toEqual(before);
  });

  it('goes on after a refusal that the body catches, without a trace of what was refused', async () => {
    await program.transact(async (tx) => {
      await tx.model(City).add(bern);
      await tx
        .model(City)
        .add({ ...bern, id: 8n })
        .catch(() => undefined);
      await tx.model(City).add({ ...bern, id: 9n, postcode: '9' });
    });
    expect((await cities().scan().toArray()).map(({ id }) => id)).toEqual([7n, 9n]);
    await checkIndexes();
  });

  it('keeps writes apart that the body starts at once', async () => {
    const results = await program.transact((tx) =>
      Promise.allSettled([1n, 2n].map((id) => tx.model(City).add({ ...bern, id }))),
    );
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    await checkIndexes();
  });

  it('commits a write that the body forgot to await, and refuses one that comes later', async () => {
    const late = await program.transact(async (tx) => {
      void tx.model(City).add(bern);
      await Promise.resolve();
      return tx.model(City);
    });
    expect(await cities().count()).toBe(1);
    await expect(late.delete(key)).rejects.toMatchObject({ code: 'CONTEXT_EXPIRED' });
  });
});

describe('ending requests', () => {
  it('refuses every call after close', async () => {
    program.close();
    await expect(cities().get(key)).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    await expect(cities().scan().page()).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    await expect(program.transact(async () => undefined)).rejects.toMatchObject({ code: 'STORE_CLOSED' });
  });

  it('ends with ABORTED when its signal is aborted, before and in the middle of a scan', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    for (const id of [1n, 2n, 3n]) await cities().add({ ...bern, id, postcode: `${id}` });
    const seen: bigint[] = [];
    const scan = async () => {
      for await (const { id } of cities().scan({ pageSize: 1, signal })) {
        seen.push(id);
        if (id === 2n) controller.abort();
      }
    };
    await expect(scan()).rejects.toMatchObject({ code: 'ABORTED' });
    expect(seen).toEqual([1n, 2n]);
    await expect(cities().get(key, { signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('refuses a model that is not registered', () => {
    const Other = defineModel({
      name: 'Other',
      version: '1.0',
      key: ['id'],
      properties: { id: string({ number: 1, required: true }) },
    });
    expect(() => program.model(Other)).toThrow(expect.objectContaining({ code: 'MODEL_UNKNOWN' }));
  });
});
