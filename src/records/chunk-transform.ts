import { RequestException } from '../errors.ts';
import { keyValueLimits } from '../kv/kv.ts';
import type { RecordData } from '../model/data.ts';
import type { Transform } from '../model/transform.ts';
import { drop } from '../model/transform.ts';
import { MutationWriter, readRecords } from './chunk-format.ts';
import type { EntriesOf } from './index-changes.ts';
import { createStoredEntries, createTargetEntries, writeIndexChanges } from './index-changes.ts';
import type { IndexEntry } from './index-entries.ts';
import type { KeyCodec } from './key-codec.ts';
import { createKeyCodec } from './key-codec.ts';
import type { MoveRecord } from './move-record.ts';
import { createMoveChain } from './move-chain.ts';
import { RecordRefused } from './move-record.ts';
import { encodeQuarantineRow } from './quarantine-row.ts';
import type { DecodedRecord, RecordCodec, UnknownValues } from './record-codec.ts';
import { checkRecordSize, createRecordCodec, schemaIdOf } from './record-codec.ts';
import { partCountOf, partKey } from './record-rows.ts';
import type {
  ChunkFailure,
  ChunkInput,
  ChunkResult,
  FailedOrdinal,
  TransformSetup,
} from './transform-setup.ts';

/** Turns a chunk of stored records into the mutations that move them. Pure: bytes in, bytes out. */
export type ChunkTransform = (chunk: ChunkInput) => ChunkResult;

/**
 * Compiles a setup. A record that is under the target definition already is never transformed again. One that does
 * not go through yields no mutations but those of its quarantine.
 *
 * @param transforms of each leg, that to the target last; undefined: records are carried over by property number
 */
export function compileTransform(
  setup: TransformSetup,
  ...transforms: readonly (Transform | undefined)[]
): ChunkTransform {
  const compiled = compile(setup, transforms);
  return (chunk) => new ChunkRun(compiled, chunk).run();
}

/** What can be done with records of one stored definition. */
interface StoredForm {
  readonly codec: RecordCodec;
  readonly entries: EntriesOf;
  readonly move: MoveRecord;
}

interface Compiled {
  readonly setup: TransformSetup;
  readonly stored: ReadonlyMap<number, StoredForm>;
  readonly targetCodec: RecordCodec;
  readonly targetKey: KeyCodec;
  readonly targetEntries: EntriesOf;
  /** The entries that records under the target definition have in patched indexes. */
  readonly movedEntries: EntriesOf;
  /** One chunk is finished before the next one begins. */
  readonly writer: MutationWriter;
}

function compile(setup: TransformSetup, transforms: readonly (Transform | undefined)[]): Compiled {
  const targetCodec = createRecordCodec(setup.target.data);
  return {
    setup,
    stored: new Map(
      setup.stored.map((from) => [
        from.schemaId,
        {
          codec: createRecordCodec(from.data),
          entries: createStoredEntries(setup, from.data),
          move: createMoveChain(setup, from, targetCodec, transforms),
        },
      ]),
    ),
    targetCodec,
    targetKey: createKeyCodec(setup.target.data, setup.references),
    targetEntries: createTargetEntries(setup),
    movedEntries: createStoredEntries(setup, setup.target.data),
    writer: new MutationWriter(),
  };
}

/** A record on its way, with what must be known before anything of it is written. */
interface Step {
  readonly ordinal: number;
  readonly key: Buffer;
  readonly value: Buffer;
  /** Its entries in patched indexes; empty for as long as it is not decoded. */
  oldEntries: readonly (readonly IndexEntry[])[];
}

class ChunkRun {
  readonly #compiled: Compiled;
  readonly #chunk: ChunkInput;
  readonly #failed: ReadonlyMap<number, FailedOrdinal>;
  readonly #writer: MutationWriter;
  readonly #failures: ChunkFailure[] = [];
  readonly #counts = { read: 0, moved: 0, dropped: 0, quarantined: 0, bytes: 0 };

  constructor(compiled: Compiled, chunk: ChunkInput) {
    this.#compiled = compiled;
    this.#chunk = chunk;
    this.#failed = new Map(chunk.failed?.map((failed) => [failed.ordinal, failed]));
    this.#writer = compiled.writer;
    this.#writer.reset();
  }

  run(): ChunkResult {
    let ordinal = 0;
    for (const { key, value } of readRecords(this.#chunk.records)) {
      this.#counts.read += 1;
      const step: Step = { ordinal, key, value, oldEntries: [] };
      try {
        this.#record(step);
      } catch (error) {
        if (!(error instanceof RecordRefused || error instanceof RequestException)) throw error;
        this.#refused(step, error);
      }
      ordinal += 1;
    }
    return {
      mutations: this.#writer.finish(),
      mutationCount: this.#writer.count,
      mutationBytes: this.#writer.payloadBytes,
      conditional: this.#writer.conditional,
      counts: this.#counts,
      failures: this.#failures,
    };
  }

  #record(step: Step): void {
    const { setup, stored, targetCodec } = this.#compiled;
    const schemaId = schemaIdOf(step.value);
    if (schemaId === setup.target.schemaId) {
      const { record, unknown } = targetCodec.decode(step.value);
      step.oldEntries = this.#compiled.movedEntries(record, step.key);
      this.#refuseNamed(step);
      this.#write(step, record, unknown, step.value);
      return;
    }
    const form = stored.get(schemaId);
    if (form === undefined) {
      throw new RecordRefused(
        'RECORD_UNREADABLE',
        `The record was written under schema id ${schemaId}, which has no definition here.`,
      );
    }
    const decoded: DecodedRecord = form.codec.decode(step.value);
    // Before the transform, which may change the record it is given.
    step.oldEntries = form.entries(decoded.record, step.key);
    this.#refuseNamed(step);
    const moved = form.move(decoded, step.value);
    if (moved === drop) {
      this.#clearStored(step);
      this.#counts.dropped += 1;
    } else this.#write(step, moved.record, moved.unknown);
  }

  /** Everything that may be refused comes first: a record is written whole or not at all. */
  #write(step: Step, record: RecordData, unknown: UnknownValues | undefined, stored?: Buffer): void {
    const { setup, targetCodec, targetKey, targetEntries } = this.#compiled;
    const key = targetKey.encodeFromRecord(record);
    if (setup.keyChanged) this.#checkKeySize(key);
    else if (!key.equals(step.key)) {
      throw new RecordRefused('KEY_CHANGED', 'The transform returned another key.');
    }
    const value = stored ?? targetCodec.encode(record, setup.target.schemaId, unknown);
    checkRecordSize(setup.modelName, value);
    const newEntries = targetEntries(record, key);

    const writer = this.#writer;
    if (setup.keyChanged) {
      this.#clearRows(step, 0);
      writer.setIfAbsent(step.ordinal, setup.targetPrefix, key, value);
    } else if (stored === undefined) {
      writer.set(step.ordinal, setup.targetPrefix, key, value);
      this.#clearRows(step, partCountOf(value));
    }
    writeIndexChanges(writer, step.ordinal, setup.indexes, step.oldEntries, newEntries);
    this.#counts.moved += 1;
    this.#counts.bytes += key.length + value.length;
  }

  #clearStored(step: Step): void {
    const { setup } = this.#compiled;
    this.#clearRows(step, 0);
    writeIndexChanges(this.#writer, step.ordinal, setup.indexes, step.oldEntries, []);
  }

  /** The rows of the stored record from a part on. */
  #clearRows({ ordinal, key, value }: Step, from: number): void {
    const { sourcePrefix } = this.#compiled.setup;
    for (let part = from; part < partCountOf(value); part += 1) {
      this.#writer.clear(ordinal, sourcePrefix, partKey(key, part));
    }
  }

  #refused(step: Step, { code, message }: RecordRefused | RequestException): void {
    const { setup } = this.#compiled;
    // A copy: a part of the chunk would take all of it along.
    this.#failures.push({ ordinal: step.ordinal, keyBytes: Uint8Array.from(step.key), code, message });
    if (setup.onPoison === 'fail') return;
    const row = encodeQuarantineRow({ code, message, bytes: step.value });
    this.#writer.set(step.ordinal, setup.quarantinePrefix, step.key, row);
    this.#clearStored(step);
    this.#counts.quarantined += 1;
  }

  #refuseNamed({ ordinal }: Step): void {
    const failed = this.#failed.get(ordinal);
    if (failed !== undefined) throw new RecordRefused(failed.code, failed.message);
  }

  #checkKeySize(key: Buffer): void {
    const { modelName, targetPrefix } = this.#compiled.setup;
    const bytes = targetPrefix.length + key.length;
    if (bytes <= keyValueLimits.keyBytes) return;
    throw new RecordRefused(
      'KEY_TOO_LARGE',
      `The new key of a record of ${modelName} has ${bytes} bytes; at most ${keyValueLimits.keyBytes} are allowed.`,
    );
  }
}
