import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defineModel, float64, int32, list, string } from '../../src/model/index.ts';
import { readDefinition, writeDefinition } from '../../src/records/definitions.ts';
import { readFence, writeFence } from '../../src/records/fence.ts';
import { openProgram } from '../rig/requests.ts';

const Place = defineModel({
  name: 'Place',
  version: '1.0',
  key: ['country', 'id'],
  properties: {
    country: string({ number: 1, required: true }),
    id: int32({ number: 2, required: true }),
    name: string({ number: 3 }),
    height: float64({ number: 4, min: 0, max: 9_000 }),
    tags: list({ number: 5, of: string() }),
    code: string({ number: 6 }),
    note: string({ number: 7 }),
  },
  indexes: [
    { name: 'byHeight', on: ['country', { property: 'height', reversed: true }] },
    { name: 'byName', on: ['name'] },
    { name: 'byTag', on: ['tags', 'name'] },
    { name: 'byCode', on: ['code'], unique: true },
  ],
});

const places = [
  { country: 'AT', id: 1, name: 'Wien', height: 170, tags: ['capital', 'river'], code: 'VIE' },
  { country: 'CH', id: -5, name: 'Bern', height: 540, tags: ['capital', 'river'], code: 'BRN' },
  { country: 'CH', id: 2, name: 'Genf', height: 375, tags: ['lake'], code: 'GVA' },
  { country: 'CH', id: 3, name: 'Chur', height: 593 },
  { country: 'CH', id: 200, height: 375 },
  { country: 'CHX', id: 1, name: 'Chur', tags: [] },
] as const;

let program: Awaited<ReturnType<typeof openProgram>>;
beforeEach(async () => {
  program = await openProgram({ 1: Place });
  await program.transact(async (tx) => {
    for (const place of places) await tx.model(Place).add(place);
  });
});
afterEach(() => program.database.close());

const all = () => program.model(Place);
type Query = Parameters<ReturnType<typeof all>['scan']>[0];
const ids = async (query: Query) =>
  (await all().scan(query).toArray()).map(({ country, id }) => `${country}${id}`);

describe('scans', () => {
  const scans: readonly (readonly [string, Query, readonly string[]])[] = [
    ['by key', {}, ['AT1', 'CH-5', 'CH2', 'CH3', 'CH200', 'CHX1']],
    ['by key, backwards', { reverse: true }, ['CHX1', 'CH200', 'CH3', 'CH2', 'CH-5', 'AT1']],
    ['by the beginning of the key', { where: { country: 'CH' } }, ['CH-5', 'CH2', 'CH3', 'CH200']],
    ['by the whole key', { where: { country: 'CH', id: 3 } }, ['CH3']],
    ['by a range of the key', { where: { country: 'CH' }, range: { gt: -5, lte: 3 } }, ['CH2', 'CH3']],
    [
      'by a range of the key, backwards',
      { where: { country: 'CH' }, range: { gte: 2 }, reverse: true },
      ['CH200', 'CH3', 'CH2'],
    ],
    [
      'by a range of the first key property',
      { range: { gt: 'AT', lt: 'CHX' } },
      ['CH-5', 'CH2', 'CH3', 'CH200'],
    ],
    [
      'by a compound index, its second property falling',
      { by: 'byHeight', where: { country: 'CH' } },
      ['CH3', 'CH-5', 'CH2', 'CH200'],
    ],
    [
      'by a range of a reversed property',
      { by: 'byHeight', where: { country: 'CH' }, range: { gte: 375, lt: 593 } },
      ['CH-5', 'CH2', 'CH200'],
    ],
    [
      'by a compound index, backwards',
      { by: 'byHeight', where: { country: 'CH' }, reverse: true },
      ['CH200', 'CH2', 'CH-5', 'CH3'],
    ],
    [
      'by values outside the limits of the property',
      { by: 'byHeight', range: { gte: 'A' } },
      ['AT1', 'CH3', 'CH-5', 'CH2', 'CH200', 'CHX1'],
    ],
    ['by the lack of a value', { by: 'byName', where: { name: undefined } }, ['CH200']],
    [
      'by a range, without records that lack a value',
      { by: 'byName', range: { lte: 'Chur' } },
      ['CH-5', 'CH3', 'CHX1'],
    ],
    ['by an element of a list', { by: 'byTag', where: { tags: 'capital' } }, ['CH-5', 'AT1']],
    ['by an element and a range', { by: 'byTag', where: { tags: 'river' }, range: { gt: 'Bern' } }, ['AT1']],
    ['by all elements, a record once for each', { by: 'byTag' }, ['CH-5', 'AT1', 'CH2', 'CH-5', 'AT1']],
    ['by a unique index', { by: 'byCode', where: { code: 'GVA' } }, ['CH2']],
    ['by a range of a unique index', { by: 'byCode', range: { gte: 'BRN', lte: 'GVA' } }, ['CH-5', 'CH2']],
    ['for what is not there', { by: 'byName', where: { name: 'Rom' } }, []],
    ['within bounds that exclude each other', { by: 'byName', range: { gt: 'X', lt: 'A' } }, []],
    ['up to a limit', { limit: 2 }, ['AT1', 'CH-5']],
    ['up to no record at all', { limit: 0 }, []],
  ];

  it.each(scans)('finds records %s', async (_, query, expected) => {
    expect(await ids(query)).toEqual(expected);
  });

  it.each(scans)('finds the same one record at a time, %s', async (_, query, expected) => {
    expect(await ids({ ...query, pageSize: 1 })).toEqual(expected);
  });

  it.each(scans.filter(([, query]) => query?.limit === undefined))(
    'counts records %s',
    async (_, query, expected) => {
      expect(await all().count(query)).toBe(expected.length);
    },
  );

  it.each(scans)('finds the same inside of one transaction, %s', async (_, query, expected) => {
    const found = await program.transact((tx) => tx.model(Place).scan(query).toArray());
    expect(found.map(({ country, id }) => `${country}${id}`)).toEqual(expected);
  });

  it('gives pages that can be continued from another process, both ways', async () => {
    for (const query of [{}, { reverse: true }, { by: 'byTag' as const }]) {
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await all()
          .scan({ ...query, pageSize: 2, after })
          .page();
        expect(page.records.length).toBeLessThanOrEqual(2);
        seen.push(...page.records.map(({ country, id }) => `${country}${id}`));
        after = page.next;
      } while (after !== undefined);
      expect(seen).toEqual(await ids(query));
    }
  });

  it('sees writes of its own transaction', async () => {
    await program.transact(async (tx) => {
      await tx.model(Place).delete({ country: 'AT', id: 1 });
      expect(await tx.model(Place).count({ by: 'byTag', where: { tags: 'capital' } })).toBe(1);
    });
  });

  it('ends a page at 1 MB, and goes on', async () => {
    const note = 'x'.repeat(80_000);
    for (let id = 0; id < 20; id += 1) await all().put({ country: 'ZZ', id, note });
    const query = { where: { country: 'ZZ' } };
    const page = await all().scan(query).page();
    expect(page.records.length).toBeLessThan(20);
    expect(page.next).toBeDefined();
    expect(await all().count(query)).toBe(20);
    expect(await ids(query)).toHaveLength(20);
  });
});

describe('queries that do not fit', () => {
  it('name the indexes there are when the index is unknown', async () => {
    await expect(ids({ by: 'byColour' as never })).rejects.toMatchObject({
      code: 'INDEX_UNKNOWN',
      details: { indexes: ['byCode', 'byHeight', 'byName', 'byTag'] },
    });
  });

  const misfits: readonly (readonly [string, Query])[] = [
    ['a property that is not the first', { by: 'byHeight', where: { height: 3 } }],
    ['a property of another index', { by: 'byName', where: { tags: 'x' } }],
    ['a value of another type', { by: 'byName', where: { name: 3 as never } }],
    ['a bound of another type', { by: 'byName', range: { gt: 3 } }],
    ['a range behind the last property', { by: 'byName', where: { name: 'a' }, range: { gt: 'b' } }],
    ['a limit that is no count', { limit: 1.5 }],
    ['a page size of none', { pageSize: 0 }],
    ['a position of another index', { after: 'i99.AAAA' }],
    ['a position that is none', { after: 'somewhere' }],
  ];
  it.each(misfits)('are refused for %s', async (_, query) => {
    await expect((async () => ids(query))()).rejects.toMatchObject({ code: 'RECORD_INVALID' });
  });

  it('are refused for an index that is still being filled', async () => {
    const { keys } = program.configured(Place);
    await program.database.transact(async (tx) => {
      const fence = (await readFence(tx, keys))!;
      const definition = (await readDefinition(tx, keys, 1))!;
      const indexes = definition.indexes.map((index) => ({ ...index, state: 'building' as const }));
      writeDefinition(tx, keys, { ...definition, indexes });
      await writeFence(tx, keys, { ...fence, schemaEpoch: fence.schemaEpoch + 1 });
    });
    await expect(ids({ by: 'byName' })).rejects.toMatchObject({ code: 'INDEX_BUILDING', retryable: true });
    expect(await ids({ where: { country: 'AT' } })).toEqual(['AT1']);
  });
});
