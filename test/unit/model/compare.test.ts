import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  boolean,
  compareModels,
  defineEmbedded,
  defineModel,
  definitionData,
  embedded,
  enumeration,
  float64,
  hashOf,
  int32,
  int64,
  list,
  reference,
  self,
  string,
  timestamp,
} from '../../../src/model/index.ts';
import type { DefinitionData, ModelComparison, Properties } from '../../../src/model/index.ts';
import { instantFromMs } from '../../../src/ports/instant.ts';
import { drawSeed } from '../../rig/seed.ts';
import { buildModel, modelDraft } from './arbitrary-model.ts';
import { relaxed } from './relaxed.ts';

const seed = drawSeed('comparing definitions');

/** Properties beside the id, or a whole definition without its name. */
type Draft = Properties | { readonly define: object };

function dataOf(draft: Draft): DefinitionData {
  const id = string({ number: 1, required: true });
  const plain = { name: 'City', version: '1.0', key: ['id'] as const, properties: { id } };
  const changes = 'define' in draft ? (draft.define as object) : { properties: { id, ...draft } };
  return definitionData(defineModel({ ...plain, ...changes } as typeof plain));
}

function compare(
  stored: DefinitionData,
  configured: DefinitionData,
  building: readonly string[] = [],
): ModelComparison {
  const indexes = building.map((name) => ({ name, state: 'building' as const }));
  const current = { data: stored, hash: hashOf(stored), version: stored.version, lineage: 1, indexes };
  return compareModels({ current, earlier: [] }, { data: configured, hash: hashOf(configured) });
}

/** The type, with what tells one answer from another: `required at note`, or the indexes to fill. */
function summaryOf(comparison: ModelComparison): string {
  switch (comparison.type) {
    case 'NeedsMigration': {
      const reasons = comparison.reasons.map(({ code, property }) =>
        property === undefined ? code : `${code} at ${property}`,
      );
      return [...reasons, ...comparison.indexes.map((name) => `fill ${name}`)].join(', ');
    }
    case 'NewIndexesOnExistingProperties':
      return comparison.indexes.map((name) => `fill ${name}`).join(', ');
    case 'NewModel':
    case 'UpToDate':
    case 'OlderProgram':
      return comparison.type;
    case 'OnlySafeAdds':
      return 'safe';
  }
}

const note = string({ number: 2 });
const noteRequired = string({ number: 2, required: true });
const id = string({ number: 1, required: true });
const size = (cases: Readonly<Record<string, number>>, reserved: object = {}) => ({
  size: enumeration({ number: 2, cases, ...reserved }),
});
const address = (properties: Properties, reserved: object = {}) =>
  embedded({ number: 2, model: defineEmbedded({ name: 'Address', properties, ...reserved }) });
const indexed = (indexes: readonly object[], properties: Properties = { a: int32({ number: 2 }) }) => ({
  define: { properties: { id, b: int32({ number: 9 }), ...properties }, indexes },
});

describe('each rule, forth and back', () => {
  it.each<[rule: string, one: Draft, other: Draft, forth: string, back: string]>([
    // Properties
    ['an optional property', {}, { note }, 'safe', 'removed at note'],
    ['a required property', {}, { note: noteRequired }, 'requiredAdded at note', 'removed at note'],
    ['optional and required', { note }, { note: noteRequired }, 'required at note', 'safe'],
    [
      'a removal with number and name reserved',
      { note },
      { define: { reservedNumbers: [2], reservedNames: ['note'] } },
      'safe',
      'reservedUsed at note, reservedUsed at note',
    ],
    [
      'a removal with the number alone reserved',
      { note },
      { define: { reservedNumbers: [2] } },
      'removed at note',
      'reservedUsed at note',
    ],
    [
      'a removal with the name alone reserved',
      { note },
      { define: { reservedNames: ['note'] } },
      'removed at note',
      'reservedUsed at note',
    ],
    [
      'what is reserved',
      {},
      { define: { reservedNumbers: [5], reservedNames: ['x'] } },
      'safe',
      'reservationDropped, reservationDropped',
    ],
    ['a rename', { note }, { text: string({ number: 2 }) }, 'renamed at text', 'renamed at note'],
    [
      'a rename with the old name kept',
      { note },
      { text: string({ number: 2, alternativeNames: ['note'] }) },
      'safe',
      'renamed at note',
    ],
    [
      'an alternative name',
      { note },
      { note: string({ number: 2, alternativeNames: ['x'] }) },
      'safe',
      'safe',
    ],
    ['a number', { note }, { note: string({ number: 3 }) }, 'number at note', 'number at note'],
    [
      'a number and a name',
      { note },
      { text: string({ number: 3, alternativeNames: ['note'] }) },
      'number at text',
      'removed at text',
    ],
    // Types
    ['a type', { a: int32({ number: 2 }) }, { a: float64({ number: 2 }) }, 'type at a', 'type at a'],
    ['a wider integer', { a: int32({ number: 2 }) }, { a: int64({ number: 2 }) }, 'type at a', 'type at a'],
    ['a list', { a: note }, { a: list({ number: 2, of: string() }) }, 'type at a', 'type at a'],
    [
      'elements of a list',
      { a: list({ number: 2, of: string() }) },
      { a: list({ number: 2, of: boolean() }) },
      'type at a[]',
      'type at a[]',
    ],
    // Limits
    ['min', { a: int32({ number: 2 }) }, { a: int32({ number: 2, min: 1 }) }, 'limit at a', 'safe'],
    [
      'a higher min',
      { a: int32({ number: 2, min: 0 }) },
      { a: int32({ number: 2, min: 1 }) },
      'limit at a',
      'safe',
    ],
    ['max', { a: float64({ number: 2 }) }, { a: float64({ number: 2, max: 1 }) }, 'limit at a', 'safe'],
    [
      'a lower max',
      { a: int64({ number: 2, max: 100n }) },
      { a: int64({ number: 2, max: 99n }) },
      'limit at a',
      'safe',
    ],
    [
      'a limit that the type has by nature',
      { a: int32({ number: 2 }) },
      { a: int32({ number: 2, min: -(2 ** 31), max: 2 ** 31 - 1 }) },
      'safe',
      'safe',
    ],
    [
      'a limit of time',
      { a: timestamp({ number: 2 }) },
      { a: timestamp({ number: 2, min: instantFromMs(0) }) },
      'limit at a',
      'safe',
    ],
    ['maxSize', { note }, { note: string({ number: 2, maxSize: 9 }) }, 'limit at note', 'safe'],
    ['minSize', { note }, { note: string({ number: 2, minSize: 1 }) }, 'limit at note', 'safe'],
    ['a minSize of 0', { note }, { note: string({ number: 2, minSize: 0 }) }, 'safe', 'safe'],
    [
      'the size of a list',
      { a: list({ number: 2, of: string() }) },
      { a: list({ number: 2, of: string(), maxSize: 3 }) },
      'limit at a',
      'safe',
    ],
    [
      'a limit of elements',
      { a: list({ number: 2, of: string() }) },
      { a: list({ number: 2, of: string({ maxSize: 3 }) }) },
      'limit at a[]',
      'safe',
    ],
    ['a regex', { note }, { note: string({ number: 2, regex: 'a' }) }, 'regex at note', 'safe'],
    [
      'another regex',
      { note: string({ number: 2, regex: 'a' }) },
      { note: string({ number: 2, regex: 'a|b' }) },
      'regex at note',
      'regex at note',
    ],
    // Enums
    ['a case', size({ s: 1 }), size({ s: 1, l: 2 }), 'safe', 'caseRemoved at size'],
    [
      'a case removed with number and name reserved',
      size({ s: 1, l: 2 }),
      size({ s: 1 }, { reservedNumbers: [2], reservedNames: ['l'] }),
      'safe',
      'reservedUsed at size',
    ],
    [
      'a case removed with its number alone reserved',
      size({ s: 1, l: 2 }),
      size({ s: 1 }, { reservedNumbers: [2] }),
      'caseRemoved at size',
      'reservedUsed at size',
    ],
    ['the name of a case', size({ s: 1 }), size({ small: 1 }), 'caseChanged at size', 'caseChanged at size'],
    ['the number of a case', size({ s: 1 }), size({ s: 2 }), 'caseChanged at size', 'caseChanged at size'],
    [
      'what cases are reserved',
      size({ s: 1 }),
      size({ s: 1 }, { reservedNumbers: [7], reservedNames: ['x'] }),
      'safe',
      'reservationDropped at size',
    ],
    // References
    [
      'the target of a reference',
      { a: reference({ number: 2, to: 'A' }) },
      { a: reference({ number: 2, to: 'B' }) },
      'referenceTarget at a',
      'referenceTarget at a',
    ],
    [
      'a weak reference',
      { a: reference({ number: 2, to: 'A' }) },
      { a: reference({ number: 2, to: 'A', weak: true }) },
      'safe',
      'referenceStrong at a',
    ],
    // Embedded models
    [
      'an optional property of an embedded model',
      { address: address({ city: string({ number: 1 }) }) },
      { address: address({ city: string({ number: 1 }), zip: string({ number: 2 }) }) },
      'safe',
      'removed at address.zip',
    ],
    [
      'a limit in an embedded model',
      { address: address({ city: string({ number: 1 }) }) },
      { address: address({ city: string({ number: 1, maxSize: 3 }) }) },
      'limit at address.city',
      'safe',
    ],
    [
      'a reservation in an embedded model',
      { address: address({ city: string({ number: 1 }) }) },
      { address: address({ city: string({ number: 1 }) }, { reservedNumbers: [3] }) },
      'safe',
      'reservationDropped at address',
    ],
    [
      'an embedded model that contains itself in a list',
      { address: address({ in: list({ number: 1, of: embedded({ model: self }) }) }) },
      { address: address({ in: list({ number: 1, of: embedded({ model: self }), maxSize: 3 }) }) },
      'limit at address.in',
      'safe',
    ],
    [
      'the name of an embedded model',
      {
        a: embedded({
          number: 2,
          model: defineEmbedded({ name: 'A', properties: { x: string({ number: 1 }) } }),
        }),
      },
      {
        a: embedded({
          number: 2,
          model: defineEmbedded({ name: 'B', properties: { x: string({ number: 1 }) } }),
        }),
      },
      'safe',
      'safe',
    ],
    // The model as a whole
    ['the minor version', {}, { define: { version: '1.1' } }, 'safe', 'OlderProgram'],
    ['the major version', {}, { define: { version: '2.0' } }, 'majorVersion', 'OlderProgram'],
    ['a patch of zero', {}, { define: { version: '1.0.0' } }, 'safe', 'safe'],
    ['the name of the model', {}, { define: { name: 'Town' } }, 'name', 'name'],
    [
      'a longer key',
      { note: noteRequired },
      { define: { key: ['id', 'note'], properties: { id, note: noteRequired } } },
      'key',
      'key',
    ],
    [
      'the order of the key',
      { define: { key: ['id', 'note'], properties: { id, note: noteRequired } } },
      { define: { key: ['note', 'id'], properties: { id, note: noteRequired } } },
      'key',
      'key',
    ],
    [
      'the name of a key property',
      {},
      {
        define: {
          key: ['ID'],
          properties: { ID: string({ number: 1, required: true, alternativeNames: ['id'] }) },
        },
      },
      'safe',
      'renamed at id',
    ],
    [
      'the type of a key property',
      {},
      { define: { properties: { id: int32({ number: 1, required: true }) } } },
      'type at id, key',
      'type at id, key',
    ],
    // Indexes
    ['an index', indexed([]), indexed([{ name: 'i', on: ['a'] }]), 'fill i', 'safe'],
    [
      'the direction of an index',
      indexed([{ name: 'i', on: ['a'] }]),
      indexed([{ name: 'i', on: [{ property: 'a', reversed: true }] }]),
      'fill i',
      'fill i',
    ],
    [
      'the properties of an index',
      indexed([{ name: 'i', on: ['a'] }]),
      indexed([{ name: 'i', on: ['a', 'b'] }]),
      'fill i',
      'fill i',
    ],
    [
      'the name of an index',
      indexed([{ name: 'i', on: ['a'] }]),
      indexed([{ name: 'j', on: ['a'] }]),
      'fill j',
      'fill i',
    ],
    [
      'an index that becomes unique',
      indexed([{ name: 'i', on: ['a'] }]),
      indexed([{ name: 'i', on: ['a'], unique: true }]),
      'unique, fill i',
      'fill i',
    ],
    [
      'a unique index',
      indexed([]),
      indexed([{ name: 'i', on: ['a'], unique: true }]),
      'unique, fill i',
      'safe',
    ],
    [
      'a unique index over a new property',
      {},
      indexed([{ name: 'i', on: ['id', 'a'], unique: true }]),
      'fill i',
      'removed at a, removed at b',
    ],
    [
      'a unique index over more properties',
      indexed([{ name: 'i', on: ['a'], unique: true }]),
      indexed([{ name: 'i', on: ['a', 'b'], unique: true }]),
      // Nothing would keep records unique while it is filled.
      'unique, fill i',
      'unique, fill i',
    ],
    [
      'a unique index over more properties beside one that stays',
      indexed([{ name: 'i', on: ['a'], unique: true }]),
      indexed([
        { name: 'i', on: ['a'], unique: true },
        { name: 'j', on: ['a', 'b'], unique: true },
      ]),
      'fill j',
      'safe',
    ],
    [
      'the name of a unique index',
      indexed([{ name: 'i', on: ['a'], unique: true }]),
      indexed([{ name: 'j', on: ['a'], unique: true }]),
      'unique, fill j',
      'unique, fill i',
    ],
    [
      'the type of an indexed property',
      indexed([{ name: 'i', on: ['a'] }]),
      indexed([{ name: 'i', on: ['a'] }], { a: string({ number: 2 }) }),
      'type at a, fill i',
      'type at a, fill i',
    ],
    [
      'the name of an indexed property',
      indexed([{ name: 'i', on: ['a'] }]),
      indexed([{ name: 'i', on: ['c'] }], { c: int32({ number: 2, alternativeNames: ['a'] }) }),
      'safe',
      'renamed at a',
    ],
    [
      'the number of an indexed case',
      indexed([{ name: 'i', on: ['size'] }], size({ s: 1 })),
      indexed([{ name: 'i', on: ['size'] }], size({ s: 2 })),
      'caseChanged at size, fill i',
      'caseChanged at size, fill i',
    ],
    [
      'a new case of an indexed enum',
      indexed([{ name: 'i', on: ['size'] }], size({ s: 1 })),
      indexed([{ name: 'i', on: ['size'] }], size({ s: 1, l: 2 })),
      'safe',
      'caseRemoved at size',
    ],
    [
      'the target of an indexed reference',
      indexed([{ name: 'i', on: ['a'] }], { a: reference({ number: 2, to: 'A' }) }),
      indexed([{ name: 'i', on: ['a'] }], { a: reference({ number: 2, to: 'B' }) }),
      'referenceTarget at a, fill i',
      'referenceTarget at a, fill i',
    ],
  ])('%s', (_rule, one, other, forth, back) => {
    const [left, right] = [dataOf(one), dataOf(other)];
    expect([summaryOf(compare(left, right)), summaryOf(compare(right, left))]).toEqual([forth, back]);
  });

  it('a cycle of embedded models is reported once', () => {
    const tree = (maxSize: number) =>
      defineEmbedded({
        name: 'Tree',
        properties: { label: string({ number: 1, maxSize }), left: embedded({ number: 2, model: self }) },
      });
    const drawn = (maxSize: number) =>
      dataOf({ one: embedded({ number: 2, model: tree(maxSize) }), more: list({ number: 3, of: string() }) });
    expect(summaryOf(compare(drawn(9), drawn(3)))).toBe('limit at one.label');
  });
});

describe('a unique index that is still being built', () => {
  const one = { name: 'i', on: ['a'], unique: true };
  const same = { name: 'k', on: ['a'], unique: true };
  const wider = { name: 'j', on: ['a', 'b'], unique: true };
  const other = { name: 'n', on: ['b'] };
  const after = (building: readonly string[], stored: readonly object[], configured: readonly object[]) =>
    summaryOf(compare(dataOf(indexed(stored)), dataOf(indexed(configured)), building));

  it.each<[string, readonly string[], readonly object[], readonly object[], string]>([
    ['needs the one that keeps it unique until then', ['j'], [one, wider], [wider], 'unique, fill j'],
    [
      'does so where that one is not unique any more',
      ['j'],
      [one, wider],
      [{ ...one, unique: false }, wider],
      'unique, fill i, fill j',
    ],
    [
      'does so where the other that would be left is being built as well',
      ['j', 'k'],
      [one, same, wider],
      [same, wider],
      'unique, unique, fill j, fill k',
    ],
    ['is content with another that does', ['j'], [one, same, wider], [same, wider], 'safe'],
    ['stands alone once it is ready', [], [one, wider], [wider], 'safe'],
    [
      'keeps itself unique where nothing else did: nobody had a value before',
      ['j'],
      [wider],
      [wider, other],
      'fill n',
    ],
    ['may be dropped', ['j'], [one, wider], [one], 'safe'],
  ])('%s', (_what, building, stored, configured, expected) => {
    expect(after(building, stored, configured)).toBe(expected);
  });
});

describe('what is said', () => {
  it('names the property, what broke, and all of it', () => {
    const stored = dataOf({ note, a: int32({ number: 3, max: 9 }) });
    const configured = dataOf({
      note: noteRequired,
      a: int32({ number: 3, max: 5 }),
      b: boolean({ number: 4 }),
    });
    const comparison = compare(stored, configured);
    expect(comparison).toMatchObject({
      type: 'NeedsMigration',
      reasons: [
        { code: 'required', property: 'note', message: 'note: is required now' },
        { code: 'limit', property: 'a', message: 'a: max is stricter: 5, was 9' },
      ],
    });
  });

  it('tells what is published by safe changes, beside new indexes too', () => {
    const comparison = compare(dataOf({}), indexedData([]));
    expect(comparison).toEqual({
      type: 'OnlySafeAdds',
      changes: [
        { property: 'a', message: 'a: is new' },
        { property: 'b', message: 'b: is new' },
      ],
    });
    expect(compare(dataOf({}), indexedData([{ name: 'i', on: ['a'] }]))).toMatchObject({
      type: 'NewIndexesOnExistingProperties',
      changes: [{ property: 'a' }, { property: 'b' }, { message: 'index i is new' }],
    });
  });

  const indexedData = (indexes: readonly object[]) => dataOf(indexed(indexes));
});

describe('the direction', () => {
  const versions = ['1.0', '1.1', '2.0'].map((version) => dataOf({ define: { version } }));
  const [first, second, third] = versions as [DefinitionData, DefinitionData, DefinitionData];
  const row = (data: DefinitionData, lineage: number) => ({
    data,
    hash: hashOf(data),
    version: data.version,
    lineage,
  });
  const configured = (data: DefinitionData) => ({ data, hash: hashOf(data) });

  it('of a model that was never published is none', () => {
    expect(compareModels({ current: undefined, earlier: [] }, configured(first))).toEqual({
      type: 'NewModel',
    });
  });

  it('of equal definitions is none', () => {
    const stored = { current: row(second, 1), earlier: [row(first, 1)] };
    expect(compareModels(stored, configured(second))).toEqual({ type: 'UpToDate' });
  });

  it('goes back to an earlier definition: compatible in the same lineage only', () => {
    const stored = { current: row(third, 2), earlier: [row(first, 1), row(second, 2)] };
    expect(compareModels(stored, configured(second))).toEqual({ type: 'OlderProgram', compatible: true });
    expect(compareModels(stored, configured(first))).toEqual({ type: 'OlderProgram', compatible: false });
  });

  it('goes back to an earlier definition of the same version', () => {
    const edited = dataOf({ note });
    const stored = { current: row(edited, 1), earlier: [row(first, 1)] };
    expect(compareModels(stored, configured(first))).toEqual({ type: 'OlderProgram', compatible: true });
  });

  it('goes back to a lower version that was never published: incompatible', () => {
    const stored = { current: row(third, 1), earlier: [] };
    expect(compareModels(stored, configured(second))).toEqual({ type: 'OlderProgram', compatible: false });
  });

  it('compares versions as numbers', () => {
    const [nine, ten] = ['1.9', '1.10'].map((version) => dataOf({ define: { version } }));
    expect(summaryOf(compare(nine as DefinitionData, ten as DefinitionData))).toBe('safe');
    expect(summaryOf(compare(ten as DefinitionData, nine as DefinitionData))).toBe('OlderProgram');
  });

  it('goes on under the same version when the content differs', () => {
    expect(summaryOf(compare(dataOf({}), dataOf({ note })))).toBe('safe');
    expect(summaryOf(compare(dataOf({}), dataOf({ note: noteRequired })))).toBe('requiredAdded at note');
  });
});

describe('any definition', () => {
  it('is up to date with itself, in any order and from JSON', () => {
    fc.assert(
      fc.property(modelDraft, (draft) => {
        const data = definitionData(buildModel(draft));
        const reordered = definitionData(buildModel(draft, true));
        expect(compare(JSON.parse(JSON.stringify(data)) as DefinitionData, reordered)).toEqual({
          type: 'UpToDate',
        });
      }),
      { seed, numRuns: 200 },
    );
  });

  it('has no difference but the version when the version alone is raised', () => {
    fc.assert(
      fc.property(modelDraft, (draft) => {
        const data = definitionData(buildModel(draft));
        const raised = { ...data, version: `${data.version}.1` };
        const message = `version ${raised.version}, was ${data.version}`;
        expect(compare(data, raised)).toEqual({ type: 'OnlySafeAdds', changes: [{ message }] });
      }),
      { seed, numRuns: 200 },
    );
  });

  it('never needs a migration to be relaxed, and always needs one to be tightened again', () => {
    fc.assert(
      fc.property(modelDraft, fc.array(fc.boolean(), { minLength: 20, maxLength: 60 }), (draft, choices) => {
        let asked = 0;
        const choose = () => choices[asked++ % choices.length] === true;
        const data = definitionData(buildModel(draft));
        const wide = relaxed(data, choose);
        if (hashOf(wide) === hashOf(data)) return;
        expect(compare(data, wide)).toMatchObject({ type: 'OnlySafeAdds' });
        expect(compare(wide, data)).toMatchObject({ type: 'NeedsMigration' });
      }),
      { seed, numRuns: 500 },
    );
  });
});
