import { afterAll, beforeAll, beforeEach } from 'vitest';
import {
  KeyValueError,
  type KeyValue,
  type KeyValueDatabase,
  type KeyValueTransaction,
} from '../../src/kv/kv.ts';
import { encodeTuple } from '../../src/records/tuple.ts';
import { drawSubspace } from '../rig/test-database.ts';
import type { DriverUnderTest, OpenedDriver } from './kv-suite.ts';

/** All keys of the suite lie under this prefix, so that it can run on a database that has others. */
const prefix = `${encodeTuple(drawSubspace()).toString('latin1')}/`;

/** A key from text or bytes, one byte per character. */
export const k = (text: string): Buffer => Buffer.from(prefix + text, 'latin1');
export const v = (text: string): Buffer => Buffer.from(text, 'latin1');
/** Begin and end of everything under the prefix. */
export const all = (): [Buffer, Buffer] => [
  Buffer.from(prefix, 'latin1'),
  Buffer.from(`${prefix.slice(0, -1)}0`, 'latin1'),
];

export const textOf = (value: Buffer | undefined): string | undefined => value?.toString('latin1');
export const nameOf = (key: Buffer): string => key.toString('latin1').slice(prefix.length);
export const show = (pairs: readonly KeyValue[]): string =>
  pairs.map(({ key, value }) => `${nameOf(key)}=${value.toString('latin1')}`).join(' ');

/** One database for a `describe`, empty before each test. */
export function useDatabase(driver: DriverUnderTest): { readonly db: KeyValueDatabase } {
  let opened: OpenedDriver;
  beforeAll(async () => {
    opened = await driver.open();
  });
  afterAll(async () => {
    await opened.dispose();
  });
  beforeEach(async () => {
    await opened.database.transact(async (tx) => tx.clearRange(...all()));
  });
  return {
    get db() {
      return opened.database;
    },
  };
}

/** Writes pairs in one transaction. */
export async function put(db: KeyValueDatabase, pairs: Readonly<Record<string, string>>): Promise<void> {
  await db.transact(async (tx) => {
    for (const [name, value] of Object.entries(pairs)) tx.set(k(name), v(value));
  });
}

export async function read(db: KeyValueDatabase, name: string): Promise<string | undefined> {
  return db.transact(async (tx) => textOf(await tx.get(k(name))));
}

export async function readAll(db: KeyValueDatabase): Promise<string> {
  return db.transact(async (tx) => show(await tx.getRangeAll(...all())));
}

/** FoundationDB's code of the error that `action` ends with; undefined when it succeeds. */
export async function codeOf(action: () => unknown): Promise<number | undefined> {
  try {
    await action();
    return undefined;
  } catch (error) {
    if (error instanceof KeyValueError) return error.code;
    throw error;
  }
}

export const commitCode = (tx: KeyValueTransaction): Promise<number | undefined> => codeOf(() => tx.commit());
