import type { TransformAnswer, TransformTask } from '../../../workers/transform.ts';
import { MigrationException } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Clock } from '../../ports/clock.ts';
import { WorkerCrashed } from '../../ports/pool.ts';
import type { TransformPool } from '../runtime.ts';

/**
 * Where chunks are computed: on a worker thread, or in place where that may be and costs less than the crossing. The
 * first chunk is measured in place.
 */
export interface ChunkRunner<Chunk, Result> {
  /** @param makeChunk called again when a thread died with the chunk it was handed */
  run(makeChunk: () => Chunk, records: number): Promise<Ran<Result>>;
}

/** What a chunk became, and the milliseconds of its own that it took: without the wait for a thread. */
export interface Ran<Result> {
  readonly result: Result;
  readonly cpuMs: number;
}

export interface ChunkRunnerOptions<Chunk, Result> {
  readonly clock: Clock;
  readonly pool: TransformPool;
  /** Absent where the work must stay off the main thread: a user's module. */
  readonly inPlace?: ((chunk: Chunk) => Result) | undefined;
  /** Whether `inPlace` is the only way: a function that was given inline. Default false. */
  readonly alwaysInPlace?: boolean | undefined;
  readonly task: (chunk: Chunk) => {
    readonly task: TransformTask;
    readonly transfer: readonly ArrayBuffer[];
  };
  /** Is told of each chunk how much CPU time it took, and where. */
  readonly onRan?: ((cpuMs: number, isInPlace: boolean) => void) | undefined;
  /** @throws MigrationException for an answer that is no result */
  readonly resultOf: (answer: TransformAnswer) => Ran<Result>;
}

/** Below this CPU time a chunk is not worth sending to a thread: milliseconds, measured with piscina 5.3. */
const breakEvenMs = 0.3;

/** A thread that ends takes no blame for the next one: the chunk is tried on another, then it is the chunk's fault. */
const maxCrashes = limits.pool.crashes.value;

export function createChunkRunner<Chunk, Result>(
  options: ChunkRunnerOptions<Chunk, Result>,
): ChunkRunner<Chunk, Result> {
  const { clock, pool, inPlace, alwaysInPlace = false, task, resultOf, onRan } = options;
  let msPerRecord: number | undefined;

  const runInPlace = (compute: (chunk: Chunk) => Result, chunk: Chunk, records: number): Ran<Result> => {
    const startMs = clock.monotonicMs();
    const result = compute(chunk);
    const cpuMs = clock.monotonicMs() - startMs;
    msPerRecord = cpuMs / Math.max(1, records);
    onRan?.(cpuMs, true);
    return { result, cpuMs };
  };

  const runInPool = async (makeChunk: () => Chunk, records: number): Promise<Ran<Result>> => {
    for (let crashes = 1; ; crashes += 1) {
      const order = task(makeChunk());
      try {
        const ran = resultOf(await pool.run(order.task, order.transfer));
        msPerRecord = ran.cpuMs / Math.max(1, records);
        onRan?.(ran.cpuMs, false);
        return ran;
      } catch (error) {
        if (!(error instanceof WorkerCrashed)) throw error;
        if (crashes >= maxCrashes) throw threadDied(error, crashes);
      }
    }
  };

  return {
    async run(makeChunk, records) {
      const isCheap = msPerRecord === undefined || msPerRecord * records < breakEvenMs;
      if (inPlace !== undefined && (alwaysInPlace || isCheap)) {
        return runInPlace(inPlace, makeChunk(), records);
      }
      return runInPool(makeChunk, records);
    },
  };
}

function threadDied(cause: WorkerCrashed, crashes: number): MigrationException {
  return new MigrationException(
    'TRANSFORM_FAILED',
    `${crashes} worker threads in a row ended with the same chunk: ${cause.message}`,
    { details: { reason: cause.reason }, cause },
  );
}
