import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import type { MigrationState } from '../../../src/migration/state.ts';
import {
  checkCursor,
  createState,
  cutMessage,
  isHalted,
  readState,
  writeState,
} from '../../../src/migration/state.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';

let database: KeyValueDatabase;
beforeEach(() => {
  database = openMemoryDatabase();
});
afterEach(() => database.close());

const keys = createStoreKeys(['test']).model(1);
const first = createState({
  migrationId: 'City:1.0->2.0#0123456789ab',
  kind: 'migration',
  revision: 1,
  phase: 'Expand',
  targetSchemaId: 2,
  targetKeySpace: 1,
  sourceKeySpaces: [1],
  indexes: [{ name: 'byName', indexId: 1, mode: 'patch' }],
  transformHash: null,
  intentRevision: 0,
});

const store = (row: unknown) =>
  database.transact((tx) => {
    tx.set(keys.state, Buffer.from(typeof row === 'string' ? row : JSON.stringify(row)));
    return Promise.resolve();
  });
const read = () => database.transact((tx) => readState(tx, keys));

describe('the state of a migration', () => {
  it('is read as it was written', async () => {
    const state: MigrationState = {
      ...first,
      phase: 'Verify',
      status: 'Retry',
      attempt: 3,
      cursor: 'c',
      lastError: { code: 'HANDLER_FAILED', message: 'x', atMs: 5, retryable: true },
      retryAtMs: 12,
      reportedFraction: 0.25,
      phaseStartedMs: [1, 2, 3],
    };
    await database.transact((tx) => Promise.resolve(writeState(tx, keys, state)));
    expect(await read()).toEqual(state);
  });

  it('is undefined where there is none', async () => {
    expect(await read()).toBeUndefined();
  });

  it.each(Object.keys(first))('without %s is refused, and names it', async (field) => {
    await store({ ...first, [field]: undefined });
    await expect(read()).rejects.toMatchObject({
      code: 'STORAGE_CORRUPT',
      message: expect.stringContaining(field) as string,
    });
  });

  it.each([
    ['a phase that is none', { phase: 'Contracting' }],
    ['a status that is none', { status: 'Idle' }],
    ['a negative attempt', { attempt: -1 }],
    ['half an attempt', { attempt: 0.5 }],
    ['a cursor that is no string', { cursor: 7 }],
    ['an error without a code', { lastError: { message: '', atMs: 0, retryable: false } }],
    ['an index in an unknown mode', { indexes: [{ name: 'x', indexId: 1, mode: 'keep' }] }],
    ['a field that this release does not know', { newer: true }],
  ])('with %s is refused rather than guessed at', async (_what, changes) => {
    await store({ ...first, ...changes });
    await expect(read()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  });

  it.each(['', '{', '[]', 'null', '7'])('that is no row (%j) is refused', async (text) => {
    await store(text);
    await expect(read()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  });

  it('fits into a value at its largest', async () => {
    const worst = '\u0001';
    const largest: MigrationState = {
      ...first,
      cursor: checkCursor(worst.repeat(3_000)),
      message: cutMessage(worst.repeat(1_000_000)),
      lastError: {
        code: 'x'.repeat(64),
        message: cutMessage(worst.repeat(9_999)),
        atMs: 0,
        retryable: false,
      },
      indexes: Array.from({ length: 64 }, (_, at) => ({ name: 'x'.repeat(64), indexId: at, mode: 'fill' })),
    };
    await database.transact((tx) => Promise.resolve(writeState(tx, keys, largest)));
    expect(await read()).toEqual(largest);
  });

  it.each([
    ['Running', false],
    ['Partial', false],
    ['Retry', false],
    ['Paused', true],
    ['Canceled', true],
    ['Failed', true],
  ] as const)('%s stands still: %s', (status, halted) => {
    expect(isHalted({ ...first, status })).toBe(halted);
  });
});

describe('a cursor', () => {
  it.each(['', 'a', 'x'.repeat(3_000), 'é'.repeat(1_500)])('of 3,000 bytes and less is kept', (cursor) => {
    expect(checkCursor(cursor)).toBe(cursor);
  });

  it.each(['x'.repeat(3_001), 'é'.repeat(1_501)])('above is refused with its size', (cursor) => {
    const bytes = Buffer.byteLength(cursor);
    expect(() => checkCursor(cursor)).toThrow(
      expect.objectContaining({ code: 'CURSOR_TOO_LARGE', details: { bytes, maxBytes: 3_000 } }),
    );
  });
});

describe('a message', () => {
  it('up to 1,000 units is kept, a longer one is cut and shows it', () => {
    expect(cutMessage('x'.repeat(1_000))).toBe('x'.repeat(1_000));
    expect(cutMessage('x'.repeat(1_001))).toBe(`${'x'.repeat(999)}…`);
  });
});
