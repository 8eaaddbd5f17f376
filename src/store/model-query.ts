import { limits } from '../limits.ts';
import type { AnyModel } from '../model/define.ts';
import type { RecordOf } from '../model/infer.ts';
import { recordInvalid } from '../records/record-check.ts';

/** What every call takes. */
export interface RequestOptions {
  /** Ends the call with ABORTED, or with TIMEOUT when it is one of `AbortSignal.timeout`. */
  readonly signal?: AbortSignal | undefined;
}

/** Names of a model's indexes. */
export type IndexName<M extends AnyModel> = M['indexes'][number]['name'];

/** What stands in an index for a value of a record: of a list or set, one of its elements. */
export type SoughtValue<Value> = Value extends Uint8Array
  ? Value
  : Value extends readonly (infer Element)[] | ReadonlySet<infer Element>
    ? Element
    : Value;

/** Bounds of one property. `gt` and `lt` leave the bound itself out. */
export interface SoughtRange<Value = unknown> {
  readonly gt?: Value | undefined;
  readonly gte?: Value | undefined;
  readonly lt?: Value | undefined;
  readonly lte?: Value | undefined;
}

/** Which records, in which order: by key, or by an index. */
export interface ModelQuery<M extends AnyModel> extends RequestOptions {
  /** An index. Default: by key. A record whose list or set is indexed comes once for each of its elements that fit. */
  readonly by?: IndexName<M> | undefined;
  /**
   * Values of the first properties of the index, or of the key; of a list or set one element. A property that is there with
   * the value `undefined` looks for records without it. Default: all records.
   */
  readonly where?:
    { readonly [Name in keyof RecordOf<M>]?: SoughtValue<RecordOf<M>[Name]> | undefined } | undefined;
  /** Bounds of the property behind those in `where`; records without it are left out. Default: none. */
  readonly range?: SoughtRange<SoughtValue<RecordOf<M>[keyof RecordOf<M>]>> | undefined;
  /** From the end to the beginning. Default false. */
  readonly reverse?: boolean | undefined;
}

export interface ScanQuery<M extends AnyModel> extends ModelQuery<M> {
  /** Records at most, over all pages. Default: no limit. */
  readonly limit?: number | undefined;
  /** Records that are read at a time, 1 to 10,000. Default 500. A page also ends at 1 MB. */
  readonly pageSize?: number | undefined;
  /** `next` of a page: begin behind it. Valid for the same `by`, `where` and `range` until the model is migrated. */
  readonly after?: string | undefined;
}

export interface ScanPage<Record> {
  readonly records: readonly Record[];
  /** Pass it as `after` to go on; undefined behind the last record. A page may be shorter than asked for. */
  readonly next: string | undefined;
}

/** Records to iterate over, page by page; nothing is read before somebody asks. Each iteration begins anew. */
export interface Scan<Record> extends AsyncIterable<Record> {
  /** The first page alone. */
  page(): Promise<ScanPage<Record>>;
  /** All of them, for results that are known to be small. */
  toArray(): Promise<Record[]>;
}

/** A page is one transaction: this many records of usual size are read in a few milliseconds. */
const defaultPageSize = 500;
const maxPageSize = limits.records.pageRecords.value;
export const countPageSize = limits.records.countedRecords.value;

type ReadPage<Record> = (limit: number, after: string | undefined) => Promise<ScanPage<Record>>;

/** @throws RequestException RECORD_INVALID for a limit or page size outside its range */
export function createScan<Record>(
  modelName: string,
  { limit, pageSize = defaultPageSize, after }: Pick<ScanQuery<AnyModel>, 'limit' | 'pageSize' | 'after'>,
  readPage: ReadPage<Record>,
): Scan<Record> {
  checkCount(modelName, 'pageSize', pageSize, 1, maxPageSize);
  if (limit !== undefined) checkCount(modelName, 'limit', limit, 0, Number.MAX_SAFE_INTEGER);

  const page = (left: number, from: string | undefined): Promise<ScanPage<Record>> =>
    left === 0 ? Promise.resolve({ records: [], next: from }) : readPage(Math.min(pageSize, left), from);
  const iterate = async function* () {
    let left = limit ?? Number.POSITIVE_INFINITY;
    let next = after;
    do {
      const { records, next: following } = await page(left, next);
      yield* records;
      left -= records.length;
      next = following;
    } while (next !== undefined && left > 0);
  };
  return {
    [Symbol.asyncIterator]: iterate,
    page: () => page(limit ?? Number.POSITIVE_INFINITY, after),
    async toArray() {
      const records: Record[] = [];
      for await (const record of iterate()) records.push(record);
      return records;
    },
  };
}

function checkCount(modelName: string, path: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  const message = `must be an integer from ${min} to ${max}`;
  throw recordInvalid(modelName, 'query', [{ path, constraint: 'range', message }]);
}
