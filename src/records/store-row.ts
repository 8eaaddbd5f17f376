import { StorageException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { Random } from '../ports/random.ts';
import type { StoreKeys } from './keys.ts';
import { createRowFormat, isCount, isString } from './row.ts';

/** Written at the first open of a subspace. */
export interface StoreRow {
  /** How rows are laid out; a newer release may have another one. */
  readonly format: number;
  /** Tells two stores of one name apart. */
  readonly databaseId: string;
}

const currentFormat = 1;

const storeFormat = createRowFormat<StoreRow>('store', { format: isCount, databaseId: isString });

/** Undefined where nothing was ever opened. @throws StorageException STORAGE_FORMAT_NEWER, STORAGE_CORRUPT */
export async function readStoreRow(tx: Transaction, keys: StoreKeys): Promise<StoreRow | undefined> {
  const row = storeFormat.parseOptional(await tx.get(keys.store));
  if (row === undefined || row.format <= currentFormat) return row;
  throw new StorageException(
    'STORAGE_FORMAT_NEWER',
    `The subspace was written in format ${row.format}; this release knows formats up to ${currentFormat}.`,
    { details: { format: row.format, knownFormat: currentFormat } },
  );
}

/** @throws StorageException STORAGE_FORMAT_NEWER, STORAGE_CORRUPT */
export async function ensureStoreRow(
  tx: Transaction,
  keys: StoreKeys,
  random: Pick<Random, 'id'>,
): Promise<StoreRow> {
  const row = await readStoreRow(tx, keys);
  if (row !== undefined) return row;
  const first = { format: currentFormat, databaseId: random.id() };
  tx.set(keys.store, storeFormat.encode(first));
  return first;
}
