import { StorageException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import { metadataVersionKey } from '../kv/kv.ts';
import type { Random } from '../ports/random.ts';
import type { StoreKeys } from './keys.ts';
import { createRowFormat, isCount, isObject, isOneOf, isString } from './row.ts';

/** How data transactions learn of the fence: by reading it, or by a value that every writer of a fence changes. */
export type FenceCache = 'read' | 'metadataVersion';

/** Written at the first open of a subspace. */
export interface StoreRow {
  /** How rows are laid out; a newer release may have another one. */
  readonly format: number;
  /** Tells two stores of one name apart. */
  readonly databaseId: string;
  /** Whether somebody may hold a fence in memory, so that whoever writes one has to say so. Absent: nobody does. */
  readonly fenceCache?: 'metadataVersion' | undefined;
}

/** What all releases know, and what only those do that change the metadata version with each fence. */
const formats = { plain: 1, fencesCached: 2 } as const;
const newestFormat = formats.fencesCached;

const storeFormat = createRowFormat<StoreRow>('store', {
  format: isCount,
  databaseId: isString,
  fenceCache: (value): value is StoreRow['fenceCache'] =>
    value === undefined || isOneOf('metadataVersion')(value),
});

/** Undefined where nothing was ever opened. @throws StorageException STORAGE_FORMAT_NEWER, STORAGE_CORRUPT */
export async function readStoreRow(
  tx: Transaction,
  keys: Pick<StoreKeys, 'store'>,
): Promise<StoreRow | undefined> {
  const bytes = await tx.get(keys.store);
  const format = bytes === undefined ? undefined : formatOf(bytes);
  // Before the rest is looked at, of which this release knows nothing.
  if (format !== undefined && format > newestFormat) {
    throw new StorageException(
      'STORAGE_FORMAT_NEWER',
      `The subspace was written in format ${format}; this release knows formats up to ${newestFormat}.`,
      { details: { format, knownFormat: newestFormat } },
    );
  }
  return storeFormat.parseOptional(bytes);
}

function formatOf(bytes: Buffer): number | undefined {
  try {
    const row: unknown = JSON.parse(bytes.toString());
    return isObject(row) && isCount(row['format']) ? row['format'] : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The row of the subspace, written where it is missing, and raised for good where fences are to be cached and were not:
 * a writer of a fence in flight has read the row and conflicts, each later one changes the metadata version. Nothing
 * ever lowers it, so a store that reads its fences needs no other store's leave, and one that caches them can rely on
 * all writers.
 *
 * @throws StorageException STORAGE_FORMAT_NEWER, STORAGE_CORRUPT
 */
export async function ensureStoreRow(
  tx: Transaction,
  keys: StoreKeys,
  random: Pick<Random, 'id'>,
  fenceCache: FenceCache = 'read',
): Promise<StoreRow> {
  const row = await readStoreRow(tx, keys);
  const isAsked = fenceCache === 'metadataVersion' && row?.fenceCache !== 'metadataVersion';
  if (row !== undefined && !isAsked) return row;
  const plain = row ?? { format: formats.plain, databaseId: random.id() };
  const next: StoreRow = isAsked
    ? { ...plain, format: formats.fencesCached, fenceCache: 'metadataVersion' }
    : plain;
  tx.set(keys.store, storeFormat.encode(next));
  if (isAsked) changeMetadataVersion(tx);
  return next;
}

/**
 * To be called in each transaction that writes a fence. The row is read normally: a store that begins to cache conflicts
 * with a writer that has found nobody who does.
 */
export async function announceFence(tx: Transaction, keys: Pick<StoreKeys, 'store'>): Promise<void> {
  const row = await readStoreRow(tx, keys);
  if (row?.fenceCache === 'metadataVersion') changeMetadataVersion(tx);
}

/** Another value than ever before. FoundationDB takes this one operation on the key and no other. */
function changeMetadataVersion(tx: Transaction): void {
  tx.setVersionstampedValue(metadataVersionKey, Buffer.alloc(10), 0);
}
