import type { AnyModel } from '../model/define.ts';
import type { InputOf, KeyOf, RecordOf } from '../model/infer.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { CallMemory, RecordAccess } from '../records/record-access.ts';
import type { RecordQuery } from '../records/record-scan.ts';
import type { Entered } from './gate.ts';
import type { ModelQuery, RequestOptions, Scan, ScanPage, ScanQuery } from './model-query.ts';
import { countPageSize, createScan } from './model-query.ts';
import type { Transaction } from '../kv/kv.ts';

/** Properties to change; `undefined` removes an optional one. */
export type ChangeOf<M extends AnyModel> = {
  readonly [Name in keyof InputOf<M>]?: InputOf<M>[Name] | undefined;
};

/**
 * The records of one model. Each call is one transaction, except for scans, which take one for each page.
 *
 * Every call may end with RequestException MODEL_MIGRATING (`details` are `ModelMigratingDetails`),
 * MODEL_SCHEMA_CHANGED, STORE_CLOSED, ABORTED, TIMEOUT, RECORD_UNREADABLE, and with StorageException STORAGE_FAILED;
 * those that write also with RECORD_INVALID, RECORD_TOO_LARGE, KEY_TOO_LARGE and UNIQUE_VIOLATION. A call that fails
 * has written nothing, but for STORAGE_FAILED with the code 1021: then nobody knows.
 */
export interface ModelStore<M extends AnyModel = AnyModel> {
  readonly definition: M;
  /** @throws RequestException RECORD_EXISTS */
  add(record: InputOf<M>, options?: RequestOptions): Promise<void>;
  /** Undefined when there is none. What is stored is not validated. */
  get(key: KeyOf<M>, options?: RequestOptions): Promise<RecordOf<M> | undefined>;
  /**
   * Changes some properties of a record and answers the record as it is then. Only what is changed is validated. Key
   * properties cannot change.
   *
   * @param change properties, or a function of the record that returns them; it may be called more than once
   * @throws RequestException RECORD_NOT_FOUND
   */
  change(
    key: KeyOf<M>,
    change: ChangeOf<M> | ((record: RecordOf<M>) => ChangeOf<M>),
    options?: RequestOptions,
  ): Promise<RecordOf<M>>;
  /** Adds a record, or replaces the one under its key. */
  put(record: InputOf<M>, options?: RequestOptions): Promise<void>;
  /** Answers whether there was one. */
  delete(key: KeyOf<M>, options?: RequestOptions): Promise<boolean>;
  /**
   * Records in order. Every page is read in a transaction of its own: the whole is not one snapshot, and a record that
   * moves in the index meanwhile may come twice or not at all. Within `transact` it is one snapshot and has 5 s.
   *
   * @throws RequestException INDEX_UNKNOWN, INDEX_BUILDING, RECORD_INVALID when the query does not fit
   */
  scan(query?: ScanQuery<M>): Scan<RecordOf<M>>;
  /** Counts what a scan would find, page by page as a scan does. It reads everything that it counts. */
  count(query?: ModelQuery<M>): Promise<number>;
}

/** Carries out one operation: in a transaction of its own, or in one that is open. */
export interface OperationRunner {
  run<T>(
    kind: 'read' | 'write',
    operation: (context: OperationContext) => Promise<T>,
    options: RequestOptions | undefined,
  ): Promise<T>;
}

export interface OperationContext {
  readonly tx: Transaction;
  /** Undefined where the whole transaction may be repeated, and not this operation alone. */
  readonly memory: CallMemory | undefined;
  /** See `Gate.enter`. */
  enter<T>(model: ConfiguredModel, firstRead: (access: RecordAccess) => Promise<T>): Promise<Entered<T>>;
}

export function createModelStore<M extends AnyModel>(
  definition: M,
  model: ConfiguredModel,
  runner: OperationRunner,
): ModelStore<M> {
  /** Enters the model with the record of `primaryKey` being read. */
  const onRecord = <T>(
    kind: 'read' | 'write',
    primaryKey: Buffer,
    options: RequestOptions | undefined,
    operation: (
      access: RecordAccess,
      context: OperationContext,
      existing: Promise<Buffer | undefined>,
    ) => Promise<T>,
  ): Promise<T> =>
    runner.run(
      kind,
      async (context) => {
        const { access, first } = await context.enter(model, (found) => found.fetch(context.tx, primaryKey));
        return operation(access, context, first);
      },
      options,
    );

  /** Enters the model with the page being read. */
  const onPage = <T>(
    options: RequestOptions | undefined,
    readPage: (access: RecordAccess, tx: Transaction) => Promise<T>,
  ): Promise<T> =>
    runner.run(
      'read',
      async (context) => (await context.enter(model, (access) => readPage(access, context.tx))).first,
      options,
    );

  return {
    definition,
    async add(input, options) {
      const accepted = model.acceptRecord(input);
      await onRecord('write', accepted.primaryKey, options, (access, { tx, memory }, existing) =>
        access.add(tx, accepted, { existing, memory }),
      );
    },
    async get(key, options) {
      const primaryKey = model.acceptKey(key);
      const found = await onRecord('read', primaryKey, options, (access, { tx }, existing) =>
        access.read(tx, primaryKey, { existing }),
      );
      return found as RecordOf<M> | undefined;
    },
    async change(key, change, options) {
      const primaryKey = model.acceptKey(key);
      const changed = await onRecord('write', primaryKey, options, (access, { tx, memory }, existing) =>
        access.change(tx, primaryKey, change as Parameters<RecordAccess['change']>[2], { existing, memory }),
      );
      return changed as RecordOf<M>;
    },
    async put(input, options) {
      const accepted = model.acceptRecord(input);
      await onRecord('write', accepted.primaryKey, options, (access, { tx, memory }, existing) =>
        access.put(tx, accepted, { existing, memory }),
      );
    },
    async delete(key, options) {
      const primaryKey = model.acceptKey(key);
      return onRecord('write', primaryKey, options, (access, { tx, memory }, existing) =>
        access.delete(tx, primaryKey, { existing, memory }),
      );
    },
    scan(query = {}) {
      const { by, where, range, reverse } = query;
      const recordQuery: RecordQuery = { by, where, range, reverse };
      return createScan<RecordOf<M>>(model.name, query, async (limit, after) => {
        const page = await onPage(query, (access, tx) => access.scan(tx, recordQuery, { limit, after }));
        return page as ScanPage<RecordOf<M>>;
      });
    },
    async count(query = {}) {
      const { by, where, range, reverse } = query;
      const recordQuery: RecordQuery = { by, where, range, reverse };
      let total = 0;
      let after: string | undefined;
      do {
        const limits = { limit: countPageSize, after };
        const { count, next } = await onPage(query, (access, tx) => access.count(tx, recordQuery, limits));
        total += count;
        after = next;
      } while (after !== undefined);
      return total;
    },
  };
}
