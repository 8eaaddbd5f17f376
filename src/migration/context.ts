import { MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { DefinitionData, RecordData } from '../model/data.ts';
import { rangeOf } from '../records/keys.ts';
import { createMaintainedIndexes } from '../records/maintained-index.ts';
import { behindRecord, getRecord, getRecords } from '../records/record-rows.ts';
import type { RecordWriter } from '../records/record-writer.ts';
import { createRecordWriter } from '../records/record-writer.ts';
import type { StoredForms } from '../records/stored-forms.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { Logger } from '../telemetry/logger.ts';
import { count } from './counters.ts';
import type { StoredModel } from './plan.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import type { MigrationState } from './state.ts';
import { checkCursor, readState, writeState } from './state.ts';
import type { MigrationStatus } from './status.ts';

/** A record as it is stored, whichever definition wrote it. */
export interface StoredRecord {
  /** By the names of the definition it was written under. */
  readonly record: RecordData;
  readonly version: string;
  readonly schemaId: number;
  /** Pass it to `advance`, and to `records` to go on behind this record. */
  readonly cursor: string;
}

/** What a hand-written handler does in one transaction. Every one checks that this node still owns the migration. */
export interface MigrationTransaction {
  /** Writes a record of the new definition, with the index entries that belong to it. */
  write(record: RecordData): Promise<void>;
  /** Removes a record by the key of the new definition. */
  remove(key: unknown): Promise<void>;
  /**
   * Commits how far the handler has come together with what it wrote: after a crash it goes on behind it.
   *
   * @throws MigrationException CURSOR_TOO_LARGE
   */
  advance(
    cursor: string,
    progress?: { readonly records?: number | undefined; readonly fraction?: number | undefined },
  ): void;
}

/** What a phase handler is given, for one step. It ends with the step: later use is refused with CONTEXT_EXPIRED. */
export interface MigrationContext<Store = unknown> {
  /** Passes the gate of the model being migrated, and writes under this migration's ownership. */
  readonly store: Store;
  readonly storedDataModel: DefinitionData;
  readonly newDataModel: DefinitionData;
  readonly migrationStatus: MigrationStatus;
  /** As it was when the step began. */
  readonly previousState: MigrationState;
  readonly attempt: number;
  /** Where to go on; follows `advance`. */
  readonly cursor: string | undefined;
  /** Aborts on pause, cancel, lease loss and close. */
  readonly signal: AbortSignal;
  /** Each of its lines has `model`, `migrationId` and `epoch`. */
  readonly logger: Logger;
  transact<T>(body: (tx: MigrationTransaction) => Promise<T>): Promise<T>;
  /** All records of the model in key order, behind `cursor` where one is given; read in pages of their own snapshots. */
  records(options?: { readonly after?: string | undefined }): AsyncIterable<StoredRecord>;
  /** Writes one record of the new definition in a transaction of its own. */
  write(record: RecordData): Promise<void>;
}

/** Records read at once by `records`. */
const pageSize = limits.migration.handlerPageRecords.value;
/** And their bytes: records may be large. */
const pageBytes = limits.records.pageBytes.value;

export interface StepContext {
  readonly context: MigrationContext;
  /** Waits for what the handler began and did not await, then refuses everything. */
  readonly end: () => Promise<void>;
}

export function createStepContext(
  migration: ModelMigration,
  held: HeldMigration,
  step: {
    readonly stored: DefinitionData;
    readonly sourceKeySpaces: readonly number[];
    readonly status: MigrationStatus;
    readonly signal: AbortSignal;
  },
): StepContext {
  const { runtime, model } = migration;
  const previousState = held.state;
  const pending = new Set<Promise<unknown>>();
  let ended = false;
  let cursor = held.state.cursor ?? undefined;

  const assertAlive = () => {
    if (ended) {
      throw new MigrationException(
        'CONTEXT_EXPIRED',
        `The step of ${held.state.migrationId} has ended: await every write before returning.`,
        { details: { migrationId: held.state.migrationId } },
      );
    }
  };
  const track = async <T>(work: () => Promise<T>): Promise<T> => {
    assertAlive();
    const running = work();
    const settled = running.then(
      () => undefined,
      () => undefined,
    );
    pending.add(settled);
    void settled.then(() => pending.delete(settled));
    return running;
  };
  const writer = createTargetWriter(migration, held.state);
  const left = leftNumbers(model, held.stored);

  const transact = <T>(body: (tx: MigrationTransaction) => Promise<T>): Promise<T> =>
    track(async () => {
      const expected = held.state.revision;
      let advanced: MigrationState | undefined;
      let answer: { readonly value: T } | undefined;
      const result = await runtime.database.transact(
        async (tx) => {
          assertAlive();
          const [state] = await Promise.all([readState(tx, model.keys), held.lease.guard(tx)]);
          if (state?.migrationId !== held.state.migrationId) throw lost(held);
          // An attempt whose result was unknown was applied: the body may see what it wrote, and must not run again.
          const isApplied = tx.afterUnknownResult && advanced !== undefined && isSameStep(state, advanced);
          if (isApplied && answer !== undefined) return answer.value;
          let step: MigrationState | undefined;
          const value = await body({
            write: (record) => writeRecord(tx, migration, writer, left, record),
            remove: (key) => removeRecord(tx, migration, writer, key),
            advance(next, progress) {
              checkCursor(next);
              step = {
                ...state,
                revision: expected + 1,
                cursor: next,
                advances: state.advances + 1,
                reportedRecords: state.reportedRecords + (progress?.records ?? 0),
                reportedFraction: progress?.fraction ?? state.reportedFraction,
              };
            },
          });
          if (step !== undefined) {
            if (state.revision !== expected) throw advancedTwice(held);
            writeState(tx, model.keys, step);
          }
          advanced = step;
          answer = { value };
          tx.set(model.keys.touched, Buffer.from(state.migrationId));
          // No counter, but a sign of life.
          count(tx, model.keys, runtime.clock.wallMs(), {});
          return value;
        },
        { signal: held.lease.lost },
      );
      if (advanced !== undefined) {
        held.state = advanced;
        cursor = advanced.cursor ?? undefined;
        runtime.events.changed(model);
      }
      return result;
    });

  return {
    context: {
      store: runtime.createContextStore({ migration, held, track }),
      storedDataModel: step.stored,
      newDataModel: model.data,
      migrationStatus: step.status,
      previousState,
      attempt: held.state.attempt,
      get cursor() {
        return cursor;
      },
      signal: step.signal,
      logger: held.logger,
      transact,
      records: ({ after } = {}) =>
        readRecords(migration, step.sourceKeySpaces, after ?? undefined, assertAlive),
      write: (record) => transact((tx) => tx.write(record)),
    },
    async end() {
      while (pending.size > 0) await Promise.all(pending);
      ended = true;
    },
  };
}

/** Writes records of the target, with the entries of all its indexes: those that are patched and those being filled. */
export function createTargetWriter({ model }: ModelMigration, state: MigrationState): RecordWriter {
  const stored = state.indexes.map(({ name, indexId, mode }) => ({
    name,
    indexId,
    state: mode === 'fill' ? ('building' as const) : ('ready' as const),
  }));
  return createRecordWriter({
    data: model.data,
    schemaId: state.targetSchemaId,
    keySpace: state.targetKeySpace,
    keys: model.keys,
    indexes: createMaintainedIndexes(model.data, stored, model.keys, model.references),
    references: model.references,
  });
}

async function writeRecord(
  tx: Transaction,
  migration: ModelMigration,
  writer: RecordWriter,
  left: ReadonlySet<number>,
  record: RecordData,
): Promise<void> {
  const accepted = migration.model.acceptRecord(record);
  const before = await storedBefore(tx, writer, accepted.primaryKey);
  const kept = [...(before?.unknown ?? [])].filter(([number]) => !left.has(number));
  const encoded = writer.encode(accepted.record, kept.length === 0 ? undefined : new Map(kept));
  await writer.write(tx, encoded, before);
}

async function removeRecord(
  tx: Transaction,
  migration: ModelMigration,
  writer: RecordWriter,
  key: unknown,
): Promise<void> {
  const primaryKey = migration.model.acceptKey(key);
  const before = await storedBefore(tx, writer, primaryKey);
  if (before !== undefined) await writer.remove(tx, primaryKey, before);
}

/**
 * The record that lies under the key now, by the names of the new definition. Entries of patched indexes have the same
 * bytes under both definitions, so the difference to it is the difference to what is there; the others are being built.
 */
async function storedBefore(tx: Transaction, writer: RecordWriter, primaryKey: Uint8Array) {
  const bytes = await getRecord(tx, writer.recordKey(primaryKey));
  if (bytes === undefined) return undefined;
  const { record, unknown } = writer.codec.decode(bytes);
  return { record, unknown, bytes };
}

/** Property numbers that the new definition leaves behind: a record that is written anew has no value there any more. */
function leftNumbers({ data }: ConfiguredModel, { definitions }: StoredModel): ReadonlySet<number> {
  const known = new Set(data.properties.map(({ number }) => number));
  const stored = [...definitions.values()].flatMap((definition) => definition.data.properties);
  const all = [...data.reservedNumbers, ...stored.map(({ number }) => number)];
  return new Set(all.filter((number) => !known.has(number)));
}

async function* readRecords(
  { runtime, model, forms }: ModelMigration,
  keySpaces: readonly number[],
  after: string | undefined,
  assertAlive: () => void,
): AsyncGenerator<StoredRecord, void, undefined> {
  const last = after === undefined ? undefined : Buffer.from(after, 'base64');
  for (const keySpace of [...keySpaces].sort((left, right) => left - right)) {
    const { begin, end } = rangeOf(model.keys.records(keySpace));
    if (last !== undefined && last.compare(end) >= 0) continue;
    let from = last === undefined || last.compare(begin) < 0 ? begin : behindRecord(last);
    for (;;) {
      assertAlive();
      const page = await runtime.database.transact((tx) => readPage(tx, forms, from, end));
      yield* page.records;
      const lastRead = page.records.at(-1);
      if (lastRead === undefined || page.atEnd) break;
      from = behindRecord(Buffer.from(lastRead.cursor, 'base64'));
    }
  }
}

async function readPage(
  tx: Transaction,
  forms: StoredForms,
  from: Buffer,
  end: Buffer,
): Promise<{ readonly records: readonly StoredRecord[]; readonly atEnd: boolean }> {
  const { rows, atEnd } = await getRecords(tx, from, end, {
    limit: pageSize,
    targetBytes: pageBytes,
    snapshot: true,
  });
  const records: StoredRecord[] = [];
  // One after another: the first record of a definition reads it, the others find it known.
  for (const { key, value } of rows) {
    const { record, definition } = await forms.decode(tx, value);
    const { version, schemaId } = definition;
    records.push({ record, version, schemaId, cursor: key.toString('base64') });
  }
  return { records, atEnd };
}

function isSameStep(left: MigrationState, right: MigrationState): boolean {
  return left.revision === right.revision && left.cursor === right.cursor;
}

/** This node owns the migration, so it was its own handler that advanced in the meantime. */
function advancedTwice({ state }: HeldMigration): MigrationException {
  return new MigrationException(
    'HANDLER_FAILED',
    `Two transactions of a handler of ${state.migrationId} advanced at the same time; call advance in one at a time.`,
    { details: { migrationId: state.migrationId } },
  );
}

function lost({ state, lease }: HeldMigration): MigrationException {
  return new MigrationException('LEASE_LOST', `${state.migrationId} was changed by somebody else.`, {
    details: { migrationId: state.migrationId, epoch: lease.epoch },
  });
}
