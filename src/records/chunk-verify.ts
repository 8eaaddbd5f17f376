import { RequestException } from '../errors.ts';
import type { IndexData, RecordData, ReferenceKeys } from '../model/data.ts';
import { createValidator } from '../model/validate.ts';
import { readRecords } from './chunk-format.ts';
import { EntrySum } from './entry-sum.ts';
import { createIndexEncoder } from './index-entries.ts';
import { createKeyCodec } from './key-codec.ts';
import { createRecordCodec } from './record-codec.ts';
import type { SetupDefinition } from './transform-setup.ts';

/** What it takes to verify records and index entries of one model: plain data, so that it crosses to worker threads. */
export interface VerifySetup {
  /** Names this setup among all that a thread may meet. Another content needs another id. */
  readonly id: string;
  readonly target: SetupDefinition;
  readonly references: ReferenceKeys;
  readonly indexes: readonly {
    readonly index: IndexData;
    readonly indexId: number;
    readonly prefix: Uint8Array;
  }[];
}

export interface VerifyChunk {
  /** Made by `packRecords`: records without their prefix, or entries of one index with it. */
  readonly rows: ArrayBuffer;
  readonly what: 'records' | { readonly entriesOf: number };
}

export interface VerifyResult {
  readonly read: number;
  readonly findings: readonly VerifyFinding[];
  /** Of each index: the entries that these records demand, or those that these rows are. */
  readonly sums: readonly {
    readonly indexId: number;
    readonly side: 'records' | 'entries';
    readonly count: number;
    readonly sum: string;
  }[];
}

export interface VerifyFinding {
  readonly keyBytes: Uint8Array;
  /** Names properties and constraints, never values. */
  readonly message: string;
}

export type ChunkVerification = (chunk: VerifyChunk) => VerifyResult;

/**
 * Compiles the check of records against the definition they shall be of. One that was written under an older definition
 * passes only if it reads and validates under this one as it is.
 *
 * @param check the user's word on a record that is otherwise in order
 */
export function compileVerification(
  { target, references, indexes }: VerifySetup,
  check?: (record: RecordData) => unknown,
): ChunkVerification {
  const { data } = target;
  const codec = createRecordCodec(data);
  const keyCodec = createKeyCodec(data, references);
  // A case that a newer program wrote is none of this definition's: nothing newer writes behind the gate.
  const validate = createValidator(data, { references });
  const encoders = indexes.map(({ index, indexId, prefix }) => ({
    indexId,
    prefix: Buffer.from(prefix),
    encoder: createIndexEncoder(data, index, references, prefix.length),
  }));

  const problemOf = (key: Buffer, value: Buffer, sums: readonly EntrySum[]): string | undefined => {
    try {
      const { record } = codec.decode(value);
      const violations = validate(record);
      if (violations.length > 0) {
        return violations.map(({ path, message }) => `${path} ${message}`.trim()).join('; ');
      }
      if (!keyCodec.encodeFromRecord(record).equals(key)) return 'it lies under another key than its own';
      const entries = encoders.map(({ encoder }) => encoder.entries(record, key));
      entries.forEach((some, at) => {
        const prefix = encoders[at]?.prefix ?? Buffer.alloc(0);
        for (const entry of some) sums[at]?.add(Buffer.concat([prefix, entry.key]), entry.value);
      });
      // Last, because it may do to the record what it likes.
      return check === undefined ? undefined : refusalOf(check, record);
    } catch (error) {
      if (error instanceof RequestException || error instanceof TypeError) return error.message;
      throw error;
    }
  };

  return ({ rows, what }) => {
    const findings: VerifyFinding[] = [];
    let read = 0;
    if (what !== 'records') {
      const sum = new EntrySum();
      for (const { key, value } of readRecords(rows)) sum.add(key, value);
      const { count } = sum;
      return {
        read: 0,
        findings,
        sums: [{ indexId: what.entriesOf, side: 'entries', count, sum: sum.toString() }],
      };
    }
    const sums = encoders.map(() => new EntrySum());
    for (const { key, value } of readRecords(rows)) {
      read += 1;
      const message = problemOf(key, value, sums);
      // A copy: a part of the chunk would take all of it along.
      if (message !== undefined) findings.push({ keyBytes: Uint8Array.from(key), message });
    }
    return {
      read,
      findings,
      sums: encoders.map(({ indexId }, at) => {
        const { count = 0 } = sums[at] ?? {};
        return { indexId, side: 'records', count, sum: String(sums[at]) };
      }),
    };
  };
}

function refusalOf(check: (record: RecordData) => unknown, record: RecordData): string | undefined {
  let answer: unknown;
  try {
    answer = check(record);
  } catch (error) {
    // Not its message, which may tell values.
    return `the check threw ${error instanceof Error ? error.name : `a ${typeof error}`}`;
  }
  if (answer === true) return undefined;
  if (answer === false) return 'the check refused it';
  if (typeof answer === 'string') return answer;
  // A promise, or nothing, would pass everything.
  return `the check answered ${answer === null ? 'null' : typeof answer} instead of true, false or a reason`;
}
