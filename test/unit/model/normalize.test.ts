import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { defineEmbedded, defineModel, definitionData, embedded, hashOf } from '../../../src/model/index.ts';
import { enumeration, int64, list, reference, self, string, timestamp } from '../../../src/model/index.ts';
import type { AnyModel, DefinitionData } from '../../../src/model/index.ts';
import { instantFromMs } from '../../../src/ports/instant.ts';
import { drawSeed } from '../../rig/seed.ts';
import { buildModel, modelDraft } from './arbitrary-model.ts';

const seed = drawSeed('normal forms of definitions');
const Country = defineModel({
  name: 'Country',
  version: '1.0',
  key: ['code'],
  properties: { code: string({ number: 1, required: true }) },
});
const Tree = defineEmbedded({
  name: 'Tree',
  properties: { children: list({ number: 1, of: embedded({ model: self }) }) },
});

describe('the normal form of a definition', () => {
  it('is plain data: sorted, without what is not given, other definitions by name', () => {
    const City = defineModel({
      name: 'City',
      version: '1.0',
      key: ['id'],
      properties: {
        tree: embedded({ number: 9, model: Tree }),
        home: reference({ number: 8, to: () => Country, weak: true }),
        size: enumeration({ number: 7, cases: { large: 2, small: 1 } }),
        at: timestamp({ number: 6, min: instantFromMs(5) }),
        count: int64({ number: 5, max: 2n ** 60n }),
        id: string({ number: 1, required: true, maxSize: 9, regex: undefined, alternativeNames: ['z', 'a'] }),
      },
      indexes: [
        { name: 'b', on: ['id'], unique: true },
        { name: 'a', on: [{ property: 'count', reversed: true }] },
      ],
      reservedNumbers: [12, 11],
    });
    expect(definitionData(City)).toStrictEqual({
      name: 'City',
      version: '1.0',
      key: ['id'],
      properties: [
        {
          name: 'id',
          number: 1,
          type: { kind: 'string', maxSize: 9 },
          required: true,
          alternativeNames: ['a', 'z'],
        },
        {
          name: 'count',
          number: 5,
          type: { kind: 'int64', max: '1152921504606846976' },
          required: false,
          alternativeNames: [],
        },
        { name: 'at', number: 6, type: { kind: 'timestamp', min: 5 }, required: false, alternativeNames: [] },
        {
          name: 'size',
          number: 7,
          type: { kind: 'enum', cases: { small: 1, large: 2 }, reservedNumbers: [], reservedNames: [] },
          required: false,
          alternativeNames: [],
        },
        {
          name: 'home',
          number: 8,
          type: { kind: 'reference', to: 'Country', weak: true },
          required: false,
          alternativeNames: [],
        },
        {
          name: 'tree',
          number: 9,
          type: { kind: 'embedded', model: 'Tree' },
          required: false,
          alternativeNames: [],
        },
      ],
      reservedNumbers: [11, 12],
      reservedNames: [],
      indexes: [
        { name: 'a', on: [{ property: 'count', reversed: true }], unique: false },
        { name: 'b', on: [{ property: 'id', reversed: false }], unique: true },
      ],
      embedded: {
        Tree: {
          name: 'Tree',
          properties: [
            {
              name: 'children',
              number: 1,
              type: { kind: 'list', of: { kind: 'embedded', model: 'Tree' } },
              required: false,
              alternativeNames: [],
            },
          ],
          reservedNumbers: [],
          reservedNames: [],
        },
      },
    });
  });

  it('refuses a thunk that gives no model', () => {
    const thunks: (() => AnyModel)[] = [
      () => undefined as never,
      () => {
        throw new ReferenceError('used before its definition');
      },
    ];
    for (const to of thunks) {
      const City = defineModel({
        name: 'City',
        version: '1.0',
        key: ['id'],
        properties: { id: string({ number: 1, required: true }), home: reference({ number: 2, to }) },
      });
      expect(() => definitionData(City)).toThrow(/The function in reference City.home gives no model/);
    }
  });

  it('survives JSON with the same hash', () => {
    fc.assert(
      fc.property(modelDraft, (draft) => {
        const data = definitionData(buildModel(draft));
        const copy = JSON.parse(JSON.stringify(data)) as DefinitionData;
        expect(copy).toStrictEqual(data);
        expect(hashOf(copy)).toBe(hashOf(data));
      }),
      { seed, numRuns: 200 },
    );
  });

  it('is the same, and its hash too, in whatever order the definition is written', () => {
    fc.assert(
      fc.property(modelDraft, (draft) => {
        const [data, reordered] = [
          definitionData(buildModel(draft)),
          definitionData(buildModel(draft, true)),
        ];
        expect(reordered).toStrictEqual(data);
        expect(hashOf(reordered)).toBe(hashOf(data));
      }),
      { seed, numRuns: 200 },
    );
  });

  it('has another hash when anything in it differs', () => {
    const data = definitionData(Country);
    const others: DefinitionData[] = [
      { ...data, version: '1.1' },
      { ...data, reservedNames: ['x'] },
      { ...data, properties: data.properties.map((property) => ({ ...property, alternativeNames: ['x'] })) },
    ];
    expect(new Set([data, ...others].map(hashOf)).size).toBe(4);
    expect(hashOf(data)).toMatch(/^[0-9a-f]{64}$/);
  });
});
