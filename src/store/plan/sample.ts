import { isBackfill } from '../../migration/handlers.ts';
import { createTransformRunner } from '../../migration/passes/transform-pass.ts';
import { createTransformSetups, inlineTransforms } from '../../migration/passes/transform-setups.ts';
import type { TransformPool } from '../../migration/runtime.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import { createSeededRandom } from '../../ports/random.ts';
import { packRecords } from '../../records/chunk-format.ts';
import { rangeOf } from '../../records/keys.ts';
import type { ForeseenMigration } from '../foresee.ts';
import { drawRecords } from './draw-records.ts';
import { estimateSize } from './estimate.ts';
import type { CheckedPlanOptions } from './options.ts';
import type { Reader } from './reader.ts';
import type { SampleReport, SizeEstimate, TransformDuration } from './report.ts';
import { Tally } from './tally.ts';

export interface Sampler {
  readonly reader: Reader;
  readonly clock: Clock;
  readonly random: Random;
  readonly pool: TransformPool;
  readonly checked: CheckedPlanOptions;
}

/**
 * Tries the transform of a migration on some records, where and how the backfill would run it, and writes nothing.
 * Undefined where there is no transform.
 *
 * @param size of all records
 * @throws MigrationException TRANSFORM_FAILED for one that ends its threads
 */
export async function sampleMigration(
  { reader, clock, random, pool, checked }: Sampler,
  { plan: { target }, handlers, closed }: ForeseenMigration,
  size: SizeEstimate,
): Promise<SampleReport | undefined> {
  const { sample, seed, show, options } = checked;
  const { backfill } = handlers;
  if (!isBackfill(backfill)) return undefined;
  const runtime = { random };
  const setups = createTransformSetups({ runtime, model: target }, closed.stored, closed.state, backfill);
  const inline = inlineTransforms(backfill);
  const chance = createSeededRandom(seed);
  const tally = new Tally(show);
  let cpuMs = 0;
  let threads = 1;
  const onRan = (ms: number, isInPlace: boolean) => {
    cpuMs += ms;
    if (!isInPlace)
      threads = Math.max(1, Math.min(options.maxBackfillConcurrency, pool.maxThreads ?? pool.threads));
  };
  let left = sample;
  for (const [at, setup] of setups.entries()) {
    const range = rangeOf(setup.sourcePrefix);
    const own = setups.length === 1 ? size : await estimateSize(reader, [range]);
    const share =
      at === setups.length - 1 ? left : Math.round((sample * own.records) / Math.max(1, size.records));
    const count = Math.min(left, share);
    const runner = createTransformRunner({ clock, pool }, setup, inline, onRan);
    for await (const rows of drawRecords(reader, { range, size: own, count, random: chance })) {
      const makeChunk = () => ({ records: packRecords(rows, setup.sourcePrefix.length) });
      const { result } = await runner.run(makeChunk, rows.length);
      tally.add(setup, rows, result);
    }
    left -= count;
  }
  const msPerRecord = tally.sampled === 0 ? null : cpuMs / tally.sampled;
  return {
    to: target.data.version,
    asked: sample,
    seed,
    ...tally.counts(),
    microsPerRecord: msPerRecord === null ? null : rounded(msPerRecord * 1_000),
    duration: msPerRecord === null ? null : durationOf(msPerRecord, size, threads),
  };
}

function durationOf(msPerRecord: number, { records }: SizeEstimate, threads: number): TransformDuration {
  return { milliseconds: rounded((msPerRecord * records) / threads), threads, isEstimate: true };
}

/** Three digits say more than chance does. */
const rounded = (value: number): number => Number(value.toPrecision(3));
