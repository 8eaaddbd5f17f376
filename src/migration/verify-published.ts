import { RequestException } from '../errors.ts';
import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';
import { packRecords } from '../records/chunk-format.ts';
import { compileVerification } from '../records/chunk-verify.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { readFence } from '../records/fence.ts';
import type { IndexAgreement } from '../records/index-agreement.ts';
import { createIndexAgreement } from '../records/index-agreement.ts';
import type { KeyRange } from '../records/keys.ts';
import { keyAfter, rangeOf } from '../records/keys.ts';
import { behindRecord, getRecords, getRows } from '../records/record-rows.ts';
import type { ChunkControl } from './passes/controller.ts';
import { chunkLimits, initialChunkControl, nextChunkControl } from './passes/controller.ts';
import type { FindingSample } from './passes/ledger.ts';
import { addSamples, interpolate } from './passes/ledger.ts';
import { isDrawn, sampleOf } from './passes/drawn.ts';
import type { StoredModel } from './plan.ts';
import { readStoredModel } from './plan.ts';
import type { VerificationFinding } from './verification.ts';
import { findingOf } from './verification.ts';

/** What is published now, looked at without a migration. Names records by their keys, and never has a value. */
export interface PublishedVerification {
  readonly modelId: number;
  readonly modelName: string;
  /** Of the published definition. */
  readonly version: string;
  readonly passed: boolean;
  /** Part of the records and index entries that were drawn, by their keys; 1: all of them. */
  readonly sampleRatio: number;
  readonly seed: number;
  readonly records: {
    readonly checked: number;
    /** Do not read, do not meet the definition, or lie under a wrong key. */
    readonly findings: number;
    readonly first: readonly VerificationFinding[];
  };
  readonly indexes: readonly {
    readonly name: string;
    /** Still being filled: not looked at. */
    readonly building: boolean;
    /** Entries that the checked records demand. */
    readonly demanded: number;
    /** Entries that were looked at. */
    readonly checked: number;
    readonly missing: { readonly count: number; readonly first: readonly VerificationFinding[] };
    readonly unexpected: { readonly count: number; readonly first: readonly VerificationFinding[] };
  }[];
}

export interface VerifyPublishedOptions {
  readonly database: KeyValueDatabase;
  readonly clock: Clock;
  /** Of the published definition: what was published since is read anew. */
  readonly configure: (stored: StoredModel) => ConfiguredModel;
  /** Above 0, to 1. Default 1: all. */
  readonly sampleRatio?: number | undefined;
  /** Another one draws another sample. Default 0. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** After each chunk: 0 to 1, of the records and of each index the same share. */
  readonly onProgress?: ((fraction: number, checked: number) => void) | undefined;
}

/**
 * Walks the records and index entries of a published model while it serves requests, as a live index is verified: each
 * chunk is one read-only transaction that looks up the other side of what it has read, as of one version. What agrees then
 * goes on agreeing, so a finding is none of a writer in between. Where another definition is published meanwhile, it
 * begins anew.
 *
 * @throws RequestException MODEL_MIGRATING while the gate is closed, ABORTED
 */
export async function verifyPublished(
  keys: ConfiguredModel['keys'],
  options: VerifyPublishedOptions,
): Promise<PublishedVerification> {
  for (;;) {
    const stored = await options.database.transact((tx) => readStoredModel(tx, keys));
    if (stored === undefined) throw new TypeError('a model without a fence is no published one');
    const report = await walkAll(options.configure(stored), stored, options);
    if (report !== undefined) return report;
  }
}

/** What was found so far, by index id; 0 is the records themselves. */
interface Tally {
  checked: number;
  findings: number;
  readonly demanded: Map<number, number>;
  readonly looked: Map<number, number>;
  readonly missing: Map<number, number>;
  readonly unexpected: Map<number, number>;
  samples: readonly FindingSample[];
}

const add = (counts: Map<number, number>, indexId: number, more: number) =>
  counts.set(indexId, (counts.get(indexId) ?? 0) + more);

/** Undefined where another definition was published, or the gate was closed and opened, meanwhile. */
async function walkAll(
  model: ConfiguredModel,
  { fence, current }: StoredModel,
  { database, clock, sampleRatio = 1, seed = 0, signal, onProgress }: VerifyPublishedOptions,
): Promise<PublishedVerification | undefined> {
  const { keys, data } = model;
  const indexes = current.indexes.filter(({ state }) => state === 'ready');
  const recordsPrefix = keys.records(fence.keySpace);
  const agreement = createIndexAgreement({
    data,
    indexes,
    keys,
    keySpace: fence.keySpace,
    references: model.references,
  });
  // Entries are looked up, in the transaction that has read the record: there is nothing to add up.
  const verify = compileVerification({
    id: 'published',
    target: { schemaId: current.schemaId, version: current.version, data },
    references: model.references,
    indexes: [],
  });
  const tally: Tally = {
    checked: 0,
    findings: 0,
    demanded: new Map(),
    looked: new Map(),
    missing: new Map(),
    unexpected: new Map(),
    samples: [],
  };

  const readChunk = async (tx: Transaction, { begin, end }: KeyRange, isRecords: boolean, limit: number) => {
    const fenceNow = await readFence(tx, keys);
    if (fenceNow?.state === 'migrating') throw migrating(model);
    if (fenceNow?.schemaEpoch !== fence.schemaEpoch) return undefined;
    const range = { snapshot: true, limit, targetBytes: chunkLimits.maxBytes };
    const { rows, atEnd } = await (isRecords ? getRecords : getRows)(tx, begin, end, range);
    const drawn = rows.filter(({ key }) => isDrawn(key, sampleRatio, seed));
    const look: keyof IndexAgreement = isRecords ? 'ofRecords' : 'ofEntries';
    const looked = await agreement[look](tx, drawn);
    const last = looked.rows < drawn.length ? drawn[looked.rows - 1] : rows.at(-1);
    return {
      rows: rows.length,
      bytes: rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0),
      checked: drawn.slice(0, looked.rows),
      looked,
      lastKey: last?.key,
      atEnd: atEnd && looked.rows === drawn.length,
    };
  };
  type Chunk = Exclude<Awaited<ReturnType<typeof readChunk>>, undefined>;

  const keep = (isRecords: boolean, { checked, looked }: Chunk) => {
    if (isRecords) {
      const { findings } = verify({ rows: packRecords(checked, recordsPrefix.length), what: 'records' });
      tally.checked += checked.length;
      tally.findings += findings.length;
      tally.samples = addSamples(
        tally.samples,
        findings.map(({ keyBytes, message }) =>
          sampleOf({ kind: 'record', indexId: 0, primaryKey: keyBytes, problem: message }),
        ),
      );
    }
    for (const [indexId, count] of looked.counts)
      add(isRecords ? tally.demanded : tally.looked, indexId, count);
    // What does not read was found above.
    const disagreements = looked.found.filter(({ kind }) => kind !== 'record');
    for (const { kind, indexId } of disagreements)
      add(kind === 'missing' ? tally.missing : tally.unexpected, indexId, 1);
    tally.samples = addSamples(tally.samples, disagreements.map(sampleOf));
  };

  const slices = [recordsPrefix, ...indexes.map(({ indexId }) => keys.index(indexId))].map(rangeOf);
  for (const [at, { begin, end }] of slices.entries()) {
    const isRecords = at === 0;
    let control: ChunkControl = initialChunkControl;
    for (let from = begin; ;) {
      throwIfAborted(signal);
      const startedMs = clock.monotonicMs();
      const { records: limit } = control;
      const chunk = await database.transact((tx) => readChunk(tx, { begin: from, end }, isRecords, limit), {
        signal,
        priority: 'batch',
      });
      if (chunk === undefined) return undefined;
      keep(isRecords, chunk);
      control = nextChunkControl(control, {
        type: 'committed',
        tookMs: clock.monotonicMs() - startedMs,
        bytes: chunk.bytes,
        records: chunk.rows,
        mutations: 0,
      });
      const { lastKey } = chunk;
      const share = chunk.atEnd || lastKey === undefined ? 1 : interpolate(begin, end, lastKey);
      onProgress?.((at + share) / slices.length, tally.checked);
      if (chunk.atEnd) break;
      if (lastKey === undefined) throw new Error('a chunk of a verification came to none of its rows');
      from = isRecords ? behindRecord(lastKey) : keyAfter(lastKey);
    }
  }
  return reportOf(model, current, tally, { sampleRatio, seed });
}

function reportOf(
  model: ConfiguredModel,
  { version, indexes }: StoredModel['current'],
  { checked, findings, demanded, looked, missing, unexpected, samples }: Tally,
  drawn: { readonly sampleRatio: number; readonly seed: number },
): PublishedVerification {
  const first = (kind: FindingSample['kind'], indexId: number) =>
    samples.filter((sample) => sample.kind === kind && sample.indexId === indexId).map(findingOf);
  return {
    modelId: model.id,
    modelName: model.name,
    version,
    passed: findings === 0 && missing.size === 0 && unexpected.size === 0,
    ...drawn,
    records: { checked, findings, first: first('record', 0) },
    indexes: indexes.map(({ name, indexId, state }) => ({
      name,
      building: state === 'building',
      demanded: demanded.get(indexId) ?? 0,
      checked: looked.get(indexId) ?? 0,
      missing: { count: missing.get(indexId) ?? 0, first: first('missing', indexId) },
      unexpected: { count: unexpected.get(indexId) ?? 0, first: first('unexpected', indexId) },
    })),
  };
}

function migrating({ id, name }: ConfiguredModel): RequestException {
  return new RequestException(
    'MODEL_MIGRATING',
    `${name} is being migrated, which verifies it by itself: it can be looked at when it is published.`,
    { details: { modelId: id, modelName: name } },
  );
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new RequestException('ABORTED', 'The verification was given up.');
}
