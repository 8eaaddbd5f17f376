import { describe, expect, it } from 'vitest';
import type { AnyModel, Properties } from '../../src/model/index.ts';
import {
  compareModels,
  decimal,
  defineModel,
  definitionData,
  enumeration,
  float64,
  hashOf,
  int32,
  reference,
  string,
  union,
} from '../../src/model/index.ts';
import { readme, tableRows } from '../rig/readme.ts';

/** What the table says follows from a change, for each answer of the comparison. */
const consequence = {
  NewModel: 'published at once',
  UpToDate: 'nothing',
  OnlySafeAdds: 'published at once',
  NewIndexesOnExistingProperties: 'filled while requests go on',
  NeedsMigration: 'migration',
  OlderProgram: 'nothing',
} as const;

const id = string({ number: 1, required: true });
const name = string({ number: 2, required: true, maxSize: 100 });
const note = string({ number: 3 });
const size = enumeration({ number: 4, cases: { small: 1, large: 2 } });
const owner = reference({ number: 5, to: 'Person' });
const kinds = { one: { number: 1, of: string() } };
const kind = union({ number: 7, cases: kinds });
const level = int32({ number: 8, default: 1 });
const price = decimal({ number: 9, precision: 9, scale: 2 });
const indexes = [{ name: 'byName', on: ['name'] }];

/** A model of one base: what changes is replaced, what is undefined left out. */
function model(
  change: Readonly<Record<string, Properties[string] | undefined>> = {},
  rest: Record<string, unknown> = {},
): AnyModel {
  const all = Object.entries({ id, name, note, size, owner, kind, level, price, ...change });
  const properties = Object.fromEntries(
    all.flatMap(([key, property]) => (property ? [[key, property]] : [])),
  );
  const options = { name: 'Thing', version: '1.0', key: ['id'], properties, indexes, ...rest };
  return defineModel(options as unknown as Parameters<typeof defineModel>[0]);
}

const base = model();
const changes: Readonly<Record<string, AnyModel>> = {
  'new model': base,
  'optional property added': model({ colour: string({ number: 6 }) }),
  'limit relaxed': model({ name: string({ number: 2, required: true, maxSize: 200 }) }),
  'required property becomes optional': model({ name: string({ number: 2, maxSize: 100 }) }),
  'rename, the old name kept in `alternativeNames`': model({
    note: undefined,
    remark: string({ number: 3, alternativeNames: ['note'] }),
  }),
  'removal, number and name reserved': model(
    { note: undefined },
    { reservedNumbers: [3], reservedNames: ['note'] },
  ),
  'enum case added': model({ size: enumeration({ number: 4, cases: { small: 1, large: 2, huge: 3 } }) }),
  'case of a union added': model({
    kind: union({ number: 7, cases: { ...kinds, many: { number: 2, of: int32() } } }),
  }),
  'default changed': model({ level: int32({ number: 8, default: 2 }) }),
  'index removed': model({}, { indexes: [] }),
  'minor version raised': model({}, { version: '1.1' }),
  'index added': model({}, { indexes: [...indexes, { name: 'byNote', on: ['note'] }] }),
  'index changed': model({}, { indexes: [{ name: 'byName', on: ['name', 'note'] }] }),
  'major version raised': model({}, { version: '2.0' }),
  'type of a property changed': model({ note: float64({ number: 3 }) }),
  'precision or scale of a decimal changed': model({ price: decimal({ number: 9, precision: 9, scale: 3 }) }),
  'key changed': model({}, { key: ['id', 'name'] }),
  'required property added': model({ count: int32({ number: 6, required: true }) }),
  'optional property becomes required': model({ note: string({ number: 3, required: true }) }),
  'limit made stricter': model({ name: string({ number: 2, required: true, maxSize: 50 }) }),
  'regex added or changed': model({ note: string({ number: 3, regex: '[a-z]*' }) }),
  'rename without the old name': model({ note: undefined, remark: string({ number: 3 }) }),
  'removal without reserving number and name': model({ note: undefined }),
  '`unique` index over existing properties added': model(
    {},
    { indexes: [...indexes, { name: 'one', on: ['note'], unique: true }] },
  ),
  'enum case removed without reserving it': model({ size: enumeration({ number: 4, cases: { small: 1 } }) }),
  'reference to another model': model({ owner: reference({ number: 5, to: 'Company' }) }),
};

function compare(configured: AnyModel) {
  const data = definitionData(base);
  const isNew = configured === base;
  const current = isNew ? undefined : { data, hash: hashOf(data), version: base.version, lineage: 1 };
  const target = definitionData(configured);
  return compareModels({ current, earlier: [] }, { data: target, hash: hashOf(target) });
}

describe('what the README says of changes', () => {
  const rows = tableRows(readme, 'change', 'what follows', 'why');

  it('is tried for every row', () => {
    expect(rows.map(([change]) => change)).toEqual(Object.keys(changes));
  });

  it('gives a reason for every row', () => {
    expect(rows.filter(([, , why]) => why === undefined || why === '')).toEqual([]);
  });

  it.each(rows)('%s: %s', (change = '', follows) => {
    const configured = changes[change];
    if (configured === undefined) throw new Error('there is no such change');
    expect(consequence[compare(configured).type]).toBe(follows);
  });
});
