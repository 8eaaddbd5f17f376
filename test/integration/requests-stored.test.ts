import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { definitionData } from '../../src/model/normalize.ts';
import { defineModel, list, string } from '../../src/model/index.ts';
import { createMaintainedIndexes } from '../../src/records/maintained-index.ts';
import { createRecordWriter } from '../../src/records/record-writer.ts';
import { createStoredForms } from '../../src/records/stored-forms.ts';
import { dump } from '../rig/recompute-index.ts';
import { openProgram } from '../rig/requests.ts';

const Note = defineModel({
  name: 'Note',
  version: '1.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    code: string({ number: 2 }),
    tags: list({ number: 3, of: string() }),
  },
  indexes: [
    { name: 'byCode', on: ['code'], unique: true },
    { name: 'byTag', on: ['tags'] },
  ],
});

let program: Awaited<ReturnType<typeof openProgram>>;
beforeEach(async () => {
  program = await openProgram({ 1: Note });
});
afterEach(() => program.database.close());

function writerOf(state: 'building' | 'ready') {
  const data = definitionData(Note);
  const { keys } = program.configured(Note);
  const stored = [
    { name: 'byCode', indexId: 11, state },
    { name: 'byTag', indexId: 12, state },
  ];
  const indexes = createMaintainedIndexes(data, stored, keys, {});
  return createRecordWriter({ data, schemaId: 7, keySpace: 3, keys, indexes, references: {} });
}

const entries = (indexId: number) => dump(program.database, program.configured(Note).keys.index(indexId));

describe('stored forms', () => {
  it('decode a record by the definition that wrote it, and keep that', async () => {
    await program.model(Note).add({ id: 'a', code: 'x' });
    const note = program.configured(Note);
    const { keys } = note;
    const forms = createStoredForms(keys);
    const recordKey = Buffer.concat([keys.records(1), note.acceptKey('a')]);
    const read = () =>
      program.database.transact(async (tx) => forms.decode(tx, (await tx.get(recordKey)) ?? Buffer.alloc(0)));
    expect(await read()).toMatchObject({
      schemaId: 1,
      record: { id: 'a', code: 'x' },
      definition: { version: '1.0' },
    });
    const { begin, end } = {
      begin: keys.definitions,
      end: Buffer.concat([keys.definitions, Buffer.of(0xff)]),
    };
    await program.database.transact(async (tx) => tx.clearRange(begin, end));
    expect(await read()).toMatchObject({ schemaId: 1 });
  });

  it('call a record without a definition unreadable', async () => {
    const writer = writerOf('ready');
    const forms = createStoredForms(program.configured(Note).keys);
    const { bytes } = writer.encode({ id: 'a' });
    const decoded = program.database.transact((tx) => forms.decode(tx, bytes));
    await expect(decoded).rejects.toMatchObject({ code: 'RECORD_UNREADABLE' });
  });
});

describe('a record writer', () => {
  it('writes where it is told to, and the difference of the entries', async () => {
    const writer = writerOf('ready');
    const before = { id: 'a', code: 'x', tags: ['p', 'q', 'p'] };
    const after = { id: 'a', tags: ['q', 'r'] };
    await program.database.transact((tx) => writer.write(tx, writer.encode(before)));
    expect(await entries(11)).toHaveLength(1);
    expect(await entries(12)).toHaveLength(2);
    await program.database.transact((tx) => writer.write(tx, writer.encode(after), writer.encode(before)));
    const fresh = program.configured(Note).keys;
    const stored = await program.database.transact((tx) =>
      tx.get(Buffer.concat([fresh.records(3), writer.keyCodec.encode('a')])),
    );
    expect(writer.codec.decode(stored ?? Buffer.alloc(0))).toMatchObject({ schemaId: 7, record: after });
    expect(await entries(12)).toHaveLength(2);
    await program.database.transact((tx) =>
      writer.remove(tx, writer.keyCodec.encode('a'), writer.encode(after)),
    );
    expect(await entries(11)).toEqual([]);
    expect(await entries(12)).toEqual([]);
  });

  it('leaves the entry alone that another record has in a unique index being built', async () => {
    const writer = writerOf('building');
    await program.database.transact((tx) => writer.write(tx, writer.encode({ id: 'a', code: 'x' })));
    const owned = await entries(11);
    const later = { id: 'b', code: 'x' };
    await program.database.transact((tx) =>
      writer.write(tx, writer.encode({ id: 'b', code: 'y' }), writer.encode(later)),
    );
    expect(await entries(11)).toEqual(expect.arrayContaining(owned));
    expect(await entries(11)).toHaveLength(2);
  });

  it('refuses an index that the definition does not have', () => {
    const stored = [{ name: 'byColour', indexId: 1, state: 'ready' as const }];
    const { keys } = program.configured(Note);
    expect(() => createMaintainedIndexes(definitionData(Note), stored, keys, {})).toThrow(
      expect.objectContaining({ code: 'STORAGE_CORRUPT' }),
    );
  });
});
