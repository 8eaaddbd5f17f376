import { RequestException, StorageException } from '../errors.ts';
import type { KeyValue, Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { IndexData, RecordData } from '../model/data.ts';
import type { ComponentRange, IndexEncoder } from './index-entries.ts';
import { createIndexEncoder, primaryKeyOfEntry } from './index-entries.ts';
import type { MaintainedIndex } from './maintained-index.ts';
import type { ModelView } from './model-view.ts';
import { recordInvalid } from './record-check.ts';
import { behindRecord, getRecord, getRecords, getRows } from './record-rows.ts';

/** Which records, in which order. */
export interface RecordQuery {
  /** Name of an index. Default: by key. */
  readonly by?: string | undefined;
  /**
   * Values of the first properties of the index, or of the key; of a list property one element. A value that is
   * `undefined` looks for records without one.
   */
  readonly where?: RecordData | undefined;
  /** Bounds of the property that follows those in `where`. Records without a value there are left out. */
  readonly range?: ComponentRange | undefined;
  /** From the end to the beginning of the index, or of the key. Default false. */
  readonly reverse?: boolean | undefined;
}

export interface PageOptions {
  /** Records at most. 1 or more. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after?: string | undefined;
}

export interface RecordPage {
  readonly records: readonly Record<string, unknown>[];
  /** Where the next page begins; undefined behind the last record. */
  readonly next: string | undefined;
}

export interface CountPage {
  readonly count: number;
  readonly next: string | undefined;
}

/**
 * Bytes of keys and values that a page reads at most, one record more: a page of 90 kB records must not fill the
 * memory.
 */
const pageBytes = limits.records.pageBytes.value;

/** One page of records. A record whose list is indexed comes once for each of its elements in range. */
export async function scanPage(
  tx: Transaction,
  view: ModelView,
  query: RecordQuery,
  page: PageOptions,
): Promise<RecordPage> {
  const target = scanTarget(view, query);
  const { rows, next } = await readRows(tx, view, target, query.reverse === true, page);
  const { index } = target;
  const values =
    index === undefined
      ? rows.map(({ value }) => value)
      : await Promise.all(rows.map((row) => recordOfEntry(tx, view, index, row)));
  return { records: values.map((value) => view.decode(value).record), next };
}

/** Counts what a page of records would hold, without reading records where an index will do. */
export async function countPage(
  tx: Transaction,
  view: ModelView,
  query: RecordQuery,
  page: PageOptions,
): Promise<CountPage> {
  const { rows, next } = await readRows(tx, view, scanTarget(view, query), query.reverse === true, page);
  return { count: rows.length, next };
}

interface ScanTarget {
  /** Undefined: the records themselves. */
  readonly index: MaintainedIndex | undefined;
  readonly prefix: Buffer;
  readonly begin: Buffer;
  readonly end: Buffer;
  /** Stands in every position, so that one of another index is not mistaken for one of this. */
  readonly tag: string;
}

function scanTarget(view: ModelView, query: RecordQuery): ScanTarget {
  const index = query.by === undefined ? undefined : findIndex(view, query.by);
  const on = index === undefined ? keyOrder(view) : index.data;
  const encoder = index === undefined ? keyEncoder(view, on) : index.encoder;
  const prefix = index === undefined ? view.writer.prefix : index.prefix;
  const values = equalValues(view, on, query);
  const bounds = encoder.scanBounds(values, query.range);
  return {
    index,
    prefix,
    begin: Buffer.concat([prefix, bounds.begin]),
    end: Buffer.concat([prefix, bounds.end]),
    tag: index === undefined ? `k${view.fence.keySpace}` : `i${index.indexId}`,
  };
}

function findIndex(view: ModelView, name: string): MaintainedIndex {
  const model = view.model.name;
  const index = view.indexes.find((candidate) => candidate.name === name);
  if (index === undefined) {
    const indexes = view.indexes.map((candidate) => candidate.name);
    throw new RequestException(
      'INDEX_UNKNOWN',
      `${model} has no index ${name}. It has ${indexes.length === 0 ? 'none' : indexes.join(', ')}.`,
      { details: { model, index: name, indexes } },
    );
  }
  if (index.state === 'building') {
    throw new RequestException('INDEX_BUILDING', `Index ${name} of ${model} is still being filled.`, {
      details: { model, index: name },
    });
  }
  return index;
}

/** The key as if it were an index: its components are the same bytes. */
function keyOrder({ model }: ModelView): IndexData {
  return {
    name: 'key',
    on: model.data.key.map((property) => ({ property, reversed: false })),
    unique: false,
  };
}

const keyEncoders = new WeakMap<ModelView, IndexEncoder>();

function keyEncoder(view: ModelView, on: IndexData): IndexEncoder {
  const known = keyEncoders.get(view);
  if (known !== undefined) return known;
  const encoder = createIndexEncoder(view.model.data, on, view.model.references);
  keyEncoders.set(view, encoder);
  return encoder;
}

/** The values of `where` in the order of the index, checked; those of `range` are checked too. */
function equalValues(view: ModelView, index: IndexData, { by, where = {}, range }: RecordQuery): unknown[] {
  const { model } = view;
  const order = index.on.map(({ property }) => configuredName(view, property, by));
  const given = Object.keys(where);
  const leading = order.slice(0, given.length);
  const place = by === undefined ? 'the key' : `index ${by}`;
  const stray = given.find((name) => !leading.includes(name));
  if (stray !== undefined) {
    const message = `is not among the first properties of ${place}, which is on ${order.join(', ')}`;
    throw recordInvalid(model.name, 'query', [{ path: stray, constraint: 'order', message }]);
  }
  model.check.sought(where);
  const bounds = Object.values(range ?? {}).filter((bound) => bound !== undefined);
  const next = order[given.length];
  if (bounds.length > 0 && next === undefined) {
    const message = `has no property behind those in where (${order.join(', ')})`;
    throw recordInvalid(model.name, 'query', [{ path: 'range', constraint: 'order', message }]);
  }
  if (next !== undefined) for (const bound of bounds) model.check.sought({ [next]: bound });
  return leading.map((name) => where[name]);
}

/** What this program calls a property of the stored definition; a query may only speak of what the program knows. */
function configuredName(view: ModelView, storedName: string, by: string | undefined): string {
  if (by === undefined) return storedName;
  const number = view.definition.data.properties.find(({ name }) => name === storedName)?.number;
  return view.model.data.properties.find((property) => property.number === number)?.name ?? storedName;
}

async function readRows(
  tx: Transaction,
  view: ModelView,
  { index, prefix, begin, end, tag }: ScanTarget,
  reverse: boolean,
  { limit, after }: PageOptions,
): Promise<{ readonly rows: readonly KeyValue[]; readonly next: string | undefined }> {
  let from = begin;
  let to = end;
  if (after !== undefined) {
    const position = Buffer.concat([prefix, parsePosition(view, tag, after)]);
    if (reverse) to = position.compare(end) < 0 ? position : end;
    else from = position.compare(begin) < 0 ? begin : behindRecord(position);
  }
  if (from.compare(to) >= 0) return { rows: [], next: undefined };
  const options = { limit, targetBytes: pageBytes, reverse };
  const read = index === undefined ? getRecords : getRows;
  const { rows, atEnd } = await read(tx, from, to, options);
  const last = rows.at(-1);
  const isLastPage = last === undefined || atEnd;
  return { rows, next: isLastPage ? undefined : formatPosition(tag, last.key.subarray(prefix.length)) };
}

function formatPosition(tag: string, key: Buffer): string {
  return `${tag}.${key.toString('base64url')}`;
}

function parsePosition(view: ModelView, tag: string, position: string): Buffer {
  const [owner, key, ...rest] = typeof position === 'string' ? position.split('.') : [];
  if (owner === tag && key !== undefined && rest.length === 0) return Buffer.from(key, 'base64url');
  throw recordInvalid(view.model.name, 'query', [
    { path: 'after', constraint: 'position', message: 'is not the end of a page of this query' },
  ]);
}

async function recordOfEntry(
  tx: Transaction,
  view: ModelView,
  index: MaintainedIndex,
  { key, value }: KeyValue,
): Promise<Buffer> {
  const primaryKey = primaryKeyOfEntry(key.subarray(index.prefix.length), value);
  const bytes = await getRecord(tx, view.writer.recordKey(primaryKey));
  if (bytes !== undefined) return bytes;
  const model = view.model.name;
  throw new StorageException(
    'STORAGE_CORRUPT',
    `Index ${index.name} of ${model} has an entry without a record.`,
    {
      details: { model, index: index.name },
    },
  );
}
