import { RequestException } from '../../errors.ts';
import type { KeyValue } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import { readMutations } from '../../records/chunk-format.ts';
import { withoutValues } from '../../records/move-record.ts';
import type { RecordCodec } from '../../records/record-codec.ts';
import { createRecordCodec, schemaIdOf } from '../../records/record-codec.ts';
import type { ChunkFailure, ChunkResult, TransformSetup } from '../../records/transform-setup.ts';
import type { SampleFailures, SampleReport, ShownRecord } from './report.ts';
import { shownValues } from './shown-value.ts';

const maxReasons = limits.plan.failureReasons.value;
const maxKeys = limits.migration.findingKeys.value;
const maxKeyDigits = limits.migration.findingKeyDigits.value;
const maxShown = limits.plan.shownRecords.value;

type Counts = Pick<
  SampleReport,
  'sampled' | 'moved' | 'dropped' | 'unchanged' | 'failed' | 'failures' | 'otherFailures' | 'shown'
>;

/** Failures of one reason, as they are counted. */
interface Group extends SampleFailures {
  count: number;
  readonly keys: string[];
}

/** Adds up what became of the records of a sample, chunk by chunk. */
export class Tally {
  readonly #show: readonly string[];
  readonly #reasons = new Map<string, Group>();
  readonly #shown: ShownRecord[] = [];
  #sampled = 0;
  #moved = 0;
  #dropped = 0;
  #unchanged = 0;
  #failed = 0;

  constructor(show: readonly string[]) {
    this.#show = show;
  }

  get sampled(): number {
    return this.#sampled;
  }

  /** @param rows with their keys whole, as the chunk was made of them */
  add(setup: TransformSetup, rows: readonly KeyValue[], { counts, failures, mutations }: ChunkResult): void {
    const failed = new Set(failures.map(({ ordinal }) => ordinal));
    const unchanged = rows.filter(
      (row, ordinal) => !failed.has(ordinal) && isOfTarget(setup, row.value),
    ).length;
    this.#sampled += rows.length;
    this.#moved += counts.moved - unchanged;
    this.#unchanged += unchanged;
    this.#dropped += counts.dropped;
    this.#failed += failures.length;
    for (const failure of failures) this.#addFailure(failure);
    if (this.#show.length > 0 && this.#shown.length < maxShown)
      this.#addShown(setup, rows, failed, mutations);
  }

  counts(): Counts {
    const all = [...this.#reasons.values()].toSorted((one, other) => other.count - one.count);
    return {
      sampled: this.#sampled,
      moved: this.#moved,
      dropped: this.#dropped,
      unchanged: this.#unchanged,
      failed: this.#failed,
      failures: all.slice(0, maxReasons),
      otherFailures: all.slice(maxReasons).reduce((sum, { count }) => sum + count, 0),
      shown: this.#shown,
    };
  }

  #addFailure({ code, message, keyBytes }: ChunkFailure): void {
    const reason = withoutValues(message);
    const name = `${code} ${reason}`;
    const example = this.#show.length > 0 ? message : null;
    const group = this.#reasons.get(name) ?? { code, reason, example, count: 0, keys: [] };
    this.#reasons.set(name, group);
    group.count += 1;
    if (group.keys.length < maxKeys) group.keys.push(digitsOf(keyBytes));
  }

  #addShown(
    setup: TransformSetup,
    rows: readonly KeyValue[],
    failed: ReadonlySet<number>,
    mutations: ArrayBuffer,
  ): void {
    const target = createRecordCodec(setup.target.data);
    const targetPrefix = Buffer.from(setup.targetPrefix);
    const written = new Map<number, Buffer>();
    for (const mutation of readMutations(mutations)) {
      const isRecord = mutation.key.subarray(0, targetPrefix.length).equals(targetPrefix);
      if (mutation.op !== 'clear' && isRecord) written.set(mutation.ordinal, mutation.value);
    }
    for (const [ordinal, { key, value }] of rows.entries()) {
      if (this.#shown.length >= maxShown) return;
      const after = isOfTarget(setup, value) ? value : written.get(ordinal);
      const outcome = failed.has(ordinal)
        ? 'failed'
        : isOfTarget(setup, value)
          ? 'unchanged'
          : after === undefined
            ? 'dropped'
            : 'moved';
      this.#shown.push({
        key: digitsOf(key.subarray(setup.sourcePrefix.length)),
        outcome,
        before: this.#valuesOf(codecOf(setup, value), value),
        after: outcome === 'failed' ? null : this.#valuesOf(target, after),
      });
    }
  }

  #valuesOf(codec: RecordCodec | undefined, value: Buffer | undefined) {
    if (codec === undefined || value === undefined) return null;
    try {
      return shownValues(codec.decode(value).record, this.#show);
    } catch (error) {
      // It is among the failures.
      if (error instanceof RequestException) return null;
      throw error;
    }
  }
}

const digitsOf = (key: Uint8Array): string => Buffer.from(key).toString('hex').slice(0, maxKeyDigits);

function isOfTarget(setup: TransformSetup, value: Buffer): boolean {
  return knownSchemaId(value) === setup.target.schemaId;
}

function codecOf({ stored, target }: TransformSetup, value: Buffer): RecordCodec | undefined {
  const schemaId = knownSchemaId(value);
  const definition = [target, ...stored].find((one) => one.schemaId === schemaId);
  return definition === undefined ? undefined : createRecordCodec(definition.data);
}

/** Undefined where not even that can be read. */
function knownSchemaId(value: Buffer): number | undefined {
  try {
    return schemaIdOf(value);
  } catch {
    return undefined;
  }
}
