import { describe, expect, it } from 'vitest';
import type { DefinitionData, RecordData } from '../../../src/model/data.ts';
import type { Transform } from '../../../src/model/transform.ts';
import { drop } from '../../../src/model/transform.ts';
import { packRecords, readMutations } from '../../../src/records/chunk-format.ts';
import { compileTransform } from '../../../src/records/chunk-transform.ts';
import { createIndexEncoder } from '../../../src/records/index-entries.ts';
import { createKeyCodec } from '../../../src/records/key-codec.ts';
import { decodeQuarantineRow } from '../../../src/records/quarantine-row.ts';
import { createRecordCodec } from '../../../src/records/record-codec.ts';
import type { ChunkInput, TransformSetup } from '../../../src/records/transform-setup.ts';
import { definition, embeddedDefinition, index } from './definition.ts';

const string = { kind: 'string' } as const;
const address = { kind: 'embedded', model: 'Address' } as const;
const embedded = { Address: embeddedDefinition('Address', [['street', 1, string]]) };

const stored = definition(
  [
    ['id', 1, string],
    ['name', 2, string],
    ['lat', 3, string],
    ['note', 4, string, 'optional'],
    ['address', 5, address, 'optional'],
    ['tags', 6, { kind: 'list', of: string }, 'optional'],
  ],
  { embedded, indexes: [index('byName', ['name']), index('byTag', ['tags'])] },
);
/** A number for a string, `note` gone, `name` renamed. */
const target = definition(
  [
    ['id', 1, string],
    ['title', 2, string],
    ['latitude', 3, { kind: 'float64', min: -90, max: 90 }],
    ['address', 5, address, 'optional'],
    ['tags', 6, { kind: 'list', of: string }, 'optional'],
  ],
  {
    version: '2.0',
    embedded,
    reservedNumbers: [4],
    indexes: [index('byName', ['title'], true), index('byTag', ['tags'])],
  },
);
const toNumber: Transform = (record) => ({ ...record, latitude: Number(record['lat']) });

const prefix = (text: string) => Buffer.from(`<${text}>`);
const setup = (change: Partial<TransformSetup> = {}): TransformSetup => ({
  id: 'a setup',
  modelName: 'City',
  stored: [{ schemaId: 1, version: '1.0', data: stored }],
  target: { schemaId: 2, version: '2.0', data: target },
  references: {},
  sourcePrefix: prefix('records'),
  targetPrefix: prefix('records'),
  keyChanged: false,
  indexes: [
    { index: index('byName', ['title'], true), prefix: prefix('name'), mode: 'fill' },
    { index: index('byTag', ['tags']), prefix: prefix('tag'), mode: 'patch' },
  ],
  onPoison: 'fail',
  quarantinePrefix: prefix('quarantine'),
  ...change,
});

interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

const row = (
  record: RecordData,
  {
    data = stored,
    schemaId = 1,
    unknown,
  }: { data?: DefinitionData; schemaId?: number; unknown?: ReadonlyMap<number, unknown> } = {},
): Row => ({
  key: createKeyCodec(data).encodeFromRecord(record),
  value: createRecordCodec(data).encode(record, schemaId, unknown),
});

const andorra = { id: 'ad', name: 'Andorra', lat: '42.5', note: 'small' };
const moved = { id: 'ad', title: 'Andorra', latitude: 42.5 };

const run = (
  rows: readonly Row[],
  {
    transform = toNumber,
    failed,
    ...change
  }: Partial<TransformSetup & ChunkInput> & { transform?: Transform | null } = {},
) => {
  const records = packRecords(
    rows.map(({ key, value }) => ({ key: Buffer.concat([prefix('records'), key]), value })),
    prefix('records').length,
  );
  const result = compileTransform(setup(change), transform ?? undefined)({ records, failed });
  const mutations = [...readMutations(result.mutations)];
  expect(mutations).toHaveLength(result.mutationCount);
  const bytes = mutations.map(
    (mutation) => mutation.key.length + ('value' in mutation ? mutation.value.length : 0),
  );
  expect(bytes.reduce((sum, size) => sum + size, 0)).toBe(result.mutationBytes);
  return { ...result, mutations };
};

/** As a chunk has them: by their keys. */
const inOrder = <Written extends { readonly key: Buffer }>(written: readonly Written[]) =>
  written.toSorted((one, other) => one.key.compare(other.key));

const keyOf = (area: string, key: Uint8Array) => Buffer.concat([prefix(area), key]);
const nameEntry = (record: RecordData, key: Buffer, unique = true) =>
  createIndexEncoder(target, index('byName', ['title'], unique)).entries(record, key)[0] as Row;
const tagEntries = (record: RecordData, key: Buffer) =>
  createIndexEncoder(target, index('byTag', ['tags'])).entries(record, key);

describe('a chunk', () => {
  it('writes each record under the new definition, and its entries', () => {
    const before = row(andorra);
    const { mutations, counts, failures } = run([before]);
    const after = row(moved, { data: target, schemaId: 2 });
    const entry = nameEntry(moved, before.key);
    expect(mutations).toEqual(
      inOrder([
        { op: 'set', ordinal: 0, key: keyOf('records', before.key), value: after.value },
        { op: 'setIfAbsent', ordinal: 0, key: keyOf('name', entry.key), value: entry.value },
      ]),
    );
    expect(failures).toEqual([]);
    const bytes = before.key.length + after.value.length;
    expect(counts).toEqual({ read: 1, moved: 1, dropped: 0, quarantined: 0, bytes });
  });

  it('of no records writes nothing', () => {
    expect(run([]).mutations).toEqual([]);
  });

  it('grows beyond what was expected of it', () => {
    const many = Array.from({ length: 300 }, (_, at) => row({ ...andorra, id: `${at}` }));
    const transform: Transform = (record) => ({
      ...(toNumber(record, { from: { version: '1.0', schemaId: 1 } }) as RecordData),
      tags: Array.from({ length: 20 }, (_, at) => `tag ${at}`),
    });
    const { mutations, counts } = run(many, { transform });
    expect(counts.moved).toBe(300);
    expect(mutations).toHaveLength(300 * 22);
    expect(new Set(mutations.map(({ ordinal }) => ordinal)).size).toBe(300);
    expect(mutations).toEqual(inOrder(mutations));
  });

  it('never transforms a record again that is under the new definition, but fills its entries', () => {
    const done = row(moved, { data: target, schemaId: 2 });
    const transform: Transform = () => {
      throw new Error('it was transformed again');
    };
    const { mutations, counts } = run([done], { transform });
    const entry = nameEntry(moved, done.key);
    expect(mutations).toEqual([
      { op: 'setIfAbsent', ordinal: 0, key: keyOf('name', entry.key), value: entry.value },
    ]);
    expect(counts).toMatchObject({ read: 1, moved: 1 });
  });

  it('patches an index by what changed', () => {
    const before = row({ ...andorra, tags: ['gone', 'kept'] });
    const transform: Transform = (record, context) => ({
      ...(toNumber(record, context) as RecordData),
      tags: ['kept', 'new'],
    });
    const { mutations } = run([before], { transform });
    const [gone] = tagEntries({ tags: ['gone'] }, before.key);
    const [added] = tagEntries({ tags: ['new'] }, before.key);
    expect(mutations.filter(({ key }) => key.indexOf('<tag>') === 0)).toEqual([
      { op: 'clear', ordinal: 0, key: keyOf('tag', gone?.key ?? Buffer.alloc(0)) },
      { op: 'set', ordinal: 0, key: keyOf('tag', added?.key ?? Buffer.alloc(0)), value: added?.value },
    ]);
  });

  it('knows the old entries of a record that the transform changes in place', () => {
    const before = row({ ...andorra, tags: ['gone'] });
    const transform: Transform = (record) => {
      const changeable = record as Record<string, unknown>;
      (changeable['tags'] as string[])[0] = 'new';
      changeable['latitude'] = 1;
      return changeable;
    };
    const { mutations } = run([before], { transform });
    const [gone] = tagEntries({ tags: ['gone'] }, before.key);
    expect(mutations).toContainEqual({
      op: 'clear',
      ordinal: 0,
      key: keyOf('tag', gone?.key ?? Buffer.alloc(0)),
    });
  });

  it('clears a dropped record and its entries', () => {
    const before = row({ ...andorra, tags: ['a'] });
    const { mutations, counts } = run([before], { transform: () => drop });
    const [entry] = tagEntries({ tags: ['a'] }, before.key);
    expect(mutations).toEqual([
      { op: 'clear', ordinal: 0, key: keyOf('records', before.key) },
      { op: 'clear', ordinal: 0, key: keyOf('tag', entry?.key ?? Buffer.alloc(0)) },
    ]);
    expect(counts).toMatchObject({ read: 1, moved: 0, dropped: 1 });
  });

  it('tells the transform which definition a record was written under', () => {
    const seen: unknown[] = [];
    const transform: Transform = (record, context) => {
      seen.push(context);
      return toNumber(record, context);
    };
    const older = { schemaId: 7, version: '0.9', data: stored };
    run([row(andorra), row({ ...andorra, id: 'b' }, { schemaId: 7 })], {
      transform,
      stored: [...setup().stored, older],
    });
    expect(seen).toEqual([
      { from: { version: '1.0', schemaId: 1 } },
      { from: { version: '0.9', schemaId: 7 } },
    ]);
  });
});

describe('what a record keeps', () => {
  const codec = createRecordCodec(target);
  const only = (mutations: readonly { readonly key: Buffer }[]) =>
    mutations.find(({ key }) => key.indexOf(prefix('records')) === 0) as unknown as Row;

  it('is a value whose property was renamed and that was returned under its old name', () => {
    expect(codec.decode(only(run([row(andorra)]).mutations).value).record).toEqual(moved);
  });

  it('are values under numbers that no definition knows, and not those that the target has or reserves', () => {
    const unknown = new Map<number, unknown>([
      [4, 'reserved'],
      [99, 'from elsewhere'],
    ]);
    const withoutNote = { ...stored, properties: stored.properties.filter(({ number }) => number !== 4) };
    const before = row({ id: 'ad', name: 'Andorra', lat: '42.5' }, { data: withoutNote, unknown });
    const { mutations } = run([before], { stored: [{ schemaId: 1, version: '1.0', data: withoutNote }] });
    expect(codec.decode(only(mutations).value).unknown).toEqual(new Map([[99, 'from elsewhere']]));
  });

  it('is everything but what was removed, where there is no transform', () => {
    const tighter = {
      ...target,
      properties: target.properties.map((property) =>
        property.number === 3 ? { ...property, type: { kind: 'string', maxSize: 4 } as const } : property,
      ),
    };
    const before = row({ ...andorra, address: { street: 'x' } }, { unknown: new Map([[99, 'kept']]) });
    const { mutations } = run([before], {
      transform: null,
      target: { schemaId: 2, version: '2.0', data: tighter },
    });
    expect(createRecordCodec(tighter).decode(only(mutations).value)).toEqual({
      schemaId: 2,
      record: { id: 'ad', title: 'Andorra', latitude: '42.5', address: { street: 'x' } },
      unknown: new Map([[99, 'kept']]),
    });
  });
});

describe('a record that does not go through', () => {
  const refused = (transform: Transform) => run([row(andorra)], { transform });

  it.each<[string, Transform, string, RegExp]>([
    [
      'throws',
      () => {
        throw new RangeError('no such place');
      },
      'TRANSFORM_FAILED',
      /RangeError: no such place/,
    ],
    [
      'throws something that is no error',
      () => {
        throw { secret: 1 } as unknown as Error;
      },
      'TRANSFORM_FAILED',
      /threw a object, not an Error/,
    ],
    [
      'throws a long story',
      () => {
        throw new Error('x'.repeat(5_000));
      },
      'TRANSFORM_FAILED',
      /^.{500}$/,
    ],
    [
      'returns a promise',
      () => Promise.reject(new Error('unseen')) as unknown as RecordData,
      'TRANSFORM_REJECTED',
      /returned a promise/,
    ],
    ['returns nothing', () => undefined as unknown as RecordData, 'TRANSFORM_REJECTED', /returned undefined/],
    ['returns a list', () => [] as unknown as RecordData, 'TRANSFORM_REJECTED', /returned an array/],
    [
      'returns what is not valid',
      (record) => ({ ...record, latitude: 91, more: 'secret' }),
      'TRANSFORM_REJECTED',
      /^(?!.*(91|secret)).*latitude must be at most 90.*more is no property/,
    ],
    [
      'returns another key',
      (record, context) => ({ ...(toNumber(record, context) as RecordData), id: 'other' }),
      'KEY_CHANGED',
      /another key/,
    ],
    [
      'returns too much',
      (record, context) => ({
        ...(toNumber(record, context) as RecordData),
        address: { street: 'x'.repeat(1_000_000) },
      }),
      'RECORD_TOO_LARGE',
      /City/,
    ],
    [
      'returns too long an index value',
      (record, context) => ({ ...(toNumber(record, context) as RecordData), title: 'x'.repeat(10_000) }),
      'KEY_TOO_LARGE',
      /byName/,
    ],
  ])('because its transform %s is named and nothing of it is written', (_what, transform, code, message) => {
    const { mutations, failures, counts } = refused(transform);
    expect(mutations).toEqual([]);
    const keyBytes = new Uint8Array(row(andorra).key);
    expect(failures).toEqual([{ ordinal: 0, keyBytes, code, message: expect.stringMatching(message) }]);
    expect(counts).toMatchObject({ read: 1, moved: 0, bytes: 0 });
  });

  it('does not keep the others of its chunk from going through', () => {
    const bad = row({ ...andorra, id: 'b', lat: 'north' });
    const { mutations, failures, counts } = run([row(andorra), bad, row({ ...andorra, id: 'c' })]);
    expect(failures).toMatchObject([{ ordinal: 1, code: 'TRANSFORM_REJECTED' }]);
    expect(new Set(mutations.map(({ ordinal }) => ordinal))).toEqual(new Set([0, 2]));
    expect(counts).toMatchObject({ read: 3, moved: 2 });
  });

  it.each([
    ['bytes that are no record', Buffer.of(9, 9)],
    ['a definition that is not there', row(andorra, { schemaId: 77 }).value],
  ])('because of %s is unreadable', (_what, value) => {
    const { failures } = run([{ key: row(andorra).key, value }]);
    expect(failures).toMatchObject([{ code: 'RECORD_UNREADABLE' }]);
  });

  it('steps aside into quarantine with its bytes, and its entries are cleared', () => {
    const before = row({ ...andorra, lat: 'north', tags: ['a'] });
    const { mutations, failures, counts } = run([before], { onPoison: 'quarantine' });
    const [entry] = tagEntries({ tags: ['a'] }, before.key);
    const [aside, ...cleared] = mutations;
    expect(aside).toMatchObject({ op: 'set', key: keyOf('quarantine', before.key) });
    const kept = decodeQuarantineRow(aside !== undefined && 'value' in aside ? aside.value : Buffer.alloc(0));
    expect({ ...kept, bytes: Buffer.from(kept.bytes) }).toEqual({
      code: 'TRANSFORM_REJECTED',
      message: failures[0]?.message,
      bytes: before.value,
    });
    expect(cleared).toEqual([
      { op: 'clear', ordinal: 0, key: keyOf('records', before.key) },
      { op: 'clear', ordinal: 0, key: keyOf('tag', entry?.key ?? Buffer.alloc(0)) },
    ]);
    expect(counts).toEqual({ read: 1, moved: 0, dropped: 0, quarantined: 1, bytes: 0 });
  });

  it('may have been found so when it was written, under either definition', () => {
    const done = row({ ...moved, id: 'b', tags: ['a'] }, { data: target, schemaId: 2 });
    const failed = [0, 1].map(
      (ordinal) => ({ ordinal, code: 'UNIQUE_VIOLATION', message: 'taken' }) as const,
    );
    const { mutations, failures, counts } = run([row(andorra), done], { failed, onPoison: 'quarantine' });
    expect(failures).toMatchObject(failed);
    expect(counts).toMatchObject({ read: 2, moved: 0, quarantined: 2 });
    const [entry] = tagEntries({ tags: ['a'] }, done.key);
    expect(mutations.map(({ op, key }) => ({ op, key }))).toEqual(
      inOrder([
        { op: 'set', key: keyOf('quarantine', row(andorra).key) },
        { op: 'clear', key: keyOf('records', row(andorra).key) },
        { op: 'set', key: keyOf('quarantine', done.key) },
        { op: 'clear', key: keyOf('records', done.key) },
        { op: 'clear', key: keyOf('tag', entry?.key ?? Buffer.alloc(0)) },
      ]),
    );
  });
});

describe('a changed key', () => {
  const byTitle: DefinitionData = { ...target, key: ['title'] };
  const change = {
    target: { schemaId: 2, version: '2.0', data: byTitle },
    keyChanged: true,
    targetPrefix: prefix('next'),
  };

  it('moves the record to the new key space, and its entries lead to the new key', () => {
    const before = row({ ...andorra, tags: ['a'] });
    const after = row({ ...moved, tags: ['a'] }, { data: byTitle, schemaId: 2 });
    const { mutations } = run([before], change);
    const entry = nameEntry(moved, after.key);
    const [oldTag] = tagEntries({ tags: ['a'] }, before.key);
    const [newTag] = tagEntries({ tags: ['a'] }, after.key);
    expect(mutations).toEqual(
      inOrder([
        { op: 'clear', ordinal: 0, key: keyOf('records', before.key) },
        { op: 'setIfAbsent', ordinal: 0, key: keyOf('next', after.key), value: after.value },
        { op: 'setIfAbsent', ordinal: 0, key: keyOf('name', entry.key), value: entry.value },
        { op: 'clear', ordinal: 0, key: keyOf('tag', oldTag?.key ?? Buffer.alloc(0)) },
        { op: 'set', ordinal: 0, key: keyOf('tag', newTag?.key ?? Buffer.alloc(0)), value: newTag?.value },
      ]),
    );
  });

  it('is refused above 10,000 bytes', () => {
    const long = row({ ...andorra, name: 'x'.repeat(9_995) });
    const { failures } = run([long], { ...change, indexes: [] });
    expect(failures).toMatchObject([{ code: 'KEY_TOO_LARGE' }]);
  });
});
