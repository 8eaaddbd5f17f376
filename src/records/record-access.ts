import { RequestException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { RecordData } from '../model/data.ts';
import type { AcceptedRecord } from './configured-model.ts';
import type { ModelView } from './model-view.ts';
import { createKeepUnknown } from './keep-unknown.ts';
import { recordInvalid } from './record-check.ts';
import type { DecodedRecord } from './record-codec.ts';
import { getRecord } from './record-rows.ts';
import type { CountPage, PageOptions, RecordPage, RecordQuery } from './record-scan.ts';
import { countPage, scanPage } from './record-scan.ts';
import type { RecordBefore } from './record-writer.ts';

/**
 * Records of one model inside transactions, as a `ModelView` says. Fence and gate are the caller's concern, and so is
 * validation where a type says "accepted"; see `ConfiguredModel`.
 *
 * Whatever is refused is refused before anything is written, so a caller may catch it and go on in the transaction.
 */
export interface RecordAccess {
  readonly view: ModelView;
  /** The stored bytes of a record: what the operations below take as `existing`. */
  fetch(tx: Transaction, primaryKey: Uint8Array): Promise<Buffer | undefined>;
  /** Never validates. @throws RequestException RECORD_UNREADABLE */
  read(tx: Transaction, primaryKey: Uint8Array, options?: AccessOptions): Promise<Found | undefined>;
  /** @throws RequestException RECORD_EXISTS, UNIQUE_VIOLATION, RECORD_TOO_LARGE, KEY_TOO_LARGE */
  add(tx: Transaction, record: AcceptedRecord, options?: AccessOptions): Promise<void>;
  /**
   * Replaces the given properties of a record, and answers the record as it is then.
   *
   * @throws RequestException RECORD_NOT_FOUND, RECORD_INVALID (also where the key would change), UNIQUE_VIOLATION,
   * RECORD_TOO_LARGE, KEY_TOO_LARGE
   */
  change(
    tx: Transaction,
    primaryKey: Buffer,
    change: RecordData | ((record: Found) => unknown),
    options?: AccessOptions,
  ): Promise<Found>;
  /**
   * Adds or replaces a record; what stands under property numbers that the configured definition does not know stays.
   *
   * @throws RequestException UNIQUE_VIOLATION, RECORD_TOO_LARGE, KEY_TOO_LARGE
   */
  put(tx: Transaction, record: AcceptedRecord, options?: AccessOptions): Promise<void>;
  /** Answers whether there was one. */
  delete(tx: Transaction, primaryKey: Buffer, options?: AccessOptions): Promise<boolean>;
  /** @throws RequestException INDEX_UNKNOWN, INDEX_BUILDING, RECORD_INVALID (the query does not fit) */
  scan(tx: Transaction, query: RecordQuery, page: PageOptions): Promise<RecordPage>;
  /** The same records as `scan`, counted. */
  count(tx: Transaction, query: RecordQuery, page: PageOptions): Promise<CountPage>;
}

/** A record by the configured names. */
export type Found = Record<string, unknown>;

export interface AccessOptions {
  /** What `fetch` has read already, or is about to. Default: read here. */
  readonly existing?: Promise<Buffer | undefined> | undefined;
  /** One object for all attempts of one call; see `CallMemory`. Default: after 1021 the call is done again. */
  readonly memory?: CallMemory | undefined;
}

/**
 * What a call wrote in an earlier attempt: after an unknown result (1021) a record equal to it byte for byte counts as
 * written, and an absent one as deleted (protocol 4). Made outside the retry loop.
 */
export interface CallMemory {
  /** Null: deleted. Undefined: nothing was written yet. */
  written?: Buffer | null | undefined;
}

export function createRecordAccess(view: ModelView): RecordAccess {
  const { model, writer } = view;
  const keepUnknown = createKeepUnknown(model.data);
  const fetch = (tx: Transaction, primaryKey: Uint8Array) => getRecord(tx, writer.recordKey(primaryKey));

  // Decoded anew, never taken from what a caller has had in hands: it may have been changed in place.
  const storedBefore = (bytes: Buffer): RecordBefore => ({
    record: view.indexes.length === 0 ? {} : view.storedForm(bytes),
    bytes,
  });

  const write = async (
    tx: Transaction,
    { record, primaryKey }: AcceptedRecord,
    existing: Existing | undefined,
    memory: CallMemory | undefined,
  ): Promise<void> => {
    const kept = existing === undefined ? record : keepUnknown(existing.decoded.record, record);
    const encoded = view.encode(kept, primaryKey, existing?.decoded.unknown);
    await writer.write(tx, encoded, existing === undefined ? undefined : storedBefore(existing.bytes));
    if (memory !== undefined) memory.written = encoded.bytes;
  };

  return {
    view,
    fetch,
    async read(tx, primaryKey, { existing = fetch(tx, primaryKey) } = {}) {
      const bytes = await existing;
      return bytes === undefined ? undefined : view.decode(bytes).record;
    },
    async add(tx, accepted, { existing = fetch(tx, accepted.primaryKey), memory } = {}) {
      const bytes = await existing;
      if (isDone(tx, memory, bytes)) return;
      if (bytes !== undefined)
        throw refused('RECORD_EXISTS', view, 'There is a record of', 'under this key already.');
      await write(tx, accepted, undefined, memory);
    },
    async change(tx, primaryKey, change, { existing = fetch(tx, primaryKey), memory } = {}) {
      const bytes = await existing;
      if (bytes === undefined)
        throw refused('RECORD_NOT_FOUND', view, 'There is no record of', 'under this key.');
      const decoded = view.decode(bytes);
      const { record } = decoded;
      if (isDone(tx, memory, bytes)) return record;
      const changes = model.check.change(typeof change === 'function' ? change({ ...record }) : change);
      const changed = withChanges(record, changes);
      refuseOtherKey(view, changed, changes, primaryKey);
      await write(tx, { record: changed, primaryKey }, { bytes, decoded }, memory);
      return changed;
    },
    async put(tx, accepted, { existing: read = fetch(tx, accepted.primaryKey), memory } = {}) {
      const bytes = await read;
      if (isDone(tx, memory, bytes)) return;
      const existing = bytes === undefined ? undefined : { bytes, decoded: view.decode(bytes) };
      await write(tx, accepted, existing, memory);
    },
    async delete(tx, primaryKey, { existing = fetch(tx, primaryKey), memory } = {}) {
      const bytes = await existing;
      if (isDone(tx, memory, bytes)) return true;
      if (bytes === undefined) return false;
      await writer.remove(tx, primaryKey, storedBefore(bytes));
      if (memory !== undefined) memory.written = null;
      return true;
    },
    scan: (tx, query, page) => scanPage(tx, view, query, page),
    count: (tx, query, page) => countPage(tx, view, query, page),
  };
}

interface Existing {
  readonly bytes: Buffer;
  readonly decoded: DecodedRecord;
}

/** Whether an earlier attempt of this call, of which nobody knew how it ended, was applied. */
function isDone(tx: Transaction, memory: CallMemory | undefined, existing: Buffer | undefined): boolean {
  if (!tx.afterUnknownResult || memory?.written === undefined) return false;
  if (memory.written === null) return existing === undefined;
  return existing?.equals(memory.written) === true;
}

function withChanges(record: RecordData, changes: RecordData): Found {
  const changed: Found = { ...record, ...changes };
  for (const [name, value] of Object.entries(changes)) if (value === undefined) delete changed[name];
  return changed;
}

function refuseOtherKey(view: ModelView, record: RecordData, changes: RecordData, primaryKey: Buffer): void {
  const { name: model, data, keyCodec } = view.model;
  const names = data.key.filter((name) => Object.hasOwn(changes, name));
  if (names.length === 0 || keyCodec.encodeFromRecord(record).equals(primaryKey)) return;
  const message = 'belongs to the key, which cannot be changed';
  throw recordInvalid(
    model,
    'change',
    names.map((path) => ({ path, constraint: 'key', message })),
  );
}

function refused(
  code: 'RECORD_EXISTS' | 'RECORD_NOT_FOUND',
  { model }: ModelView,
  before: string,
  behind: string,
): RequestException {
  return new RequestException(code, `${before} ${model.name} ${behind}`, { details: { model: model.name } });
}
