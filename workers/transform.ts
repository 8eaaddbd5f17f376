import { performance } from 'node:perf_hooks';
import { MigrationException } from '../src/errors.ts';
import { limits } from '../src/limits.ts';
import { handOver } from '../src/ports/hand-over.ts';
import type { ChunkTransform } from '../src/records/chunk-transform.ts';
import { compileTransform } from '../src/records/chunk-transform.ts';
import type {
  ChunkVerification,
  VerifyChunk,
  VerifyResult,
  VerifySetup,
} from '../src/records/chunk-verify.ts';
import { compileVerification } from '../src/records/chunk-verify.ts';
import { loadTransforms } from '../src/records/load-transform.ts';
import type { ChunkInput, ChunkResult, TransformSetup } from '../src/records/transform-setup.ts';

/**
 * The worker thread: transforms and verifies chunks. It has the CPU and the user's module, and never sees the database.
 */
export type TransformTask =
  | { readonly kind: 'transform'; readonly setup: TransformSetup; readonly chunk: ChunkInput }
  | { readonly kind: 'verify'; readonly setup: VerifySetup; readonly chunk: VerifyChunk }
  /** Loads the module and checks what it exports. */
  | { readonly kind: 'check'; readonly setup: TransformSetup };

export type TransformAnswer =
  /** `cpuMs`: time that the chunk took on the thread, loading and compiling left out. */
  | { readonly kind: 'transformed'; readonly result: ChunkResult; readonly cpuMs: number }
  | { readonly kind: 'verified'; readonly result: VerifyResult; readonly cpuMs: number }
  | { readonly kind: 'checked' }
  /** The module does not fit: TRANSFORM_INVALID. */
  | { readonly kind: 'invalid'; readonly message: string }
  /** A fault of this library, or memory that ran out: no record is to blame. */
  | { readonly kind: 'broken'; readonly message: string };

const maxCompiledSetups = limits.pool.compiledSetups.value;

const transforms = createCompiledSetups<ChunkTransform>();
const verifications = createCompiledSetups<ChunkVerification>();

/** What Piscina calls. The mutations are handed over: copying them would cost the main thread as much as this one. */
export default async function run(task: TransformTask): Promise<unknown> {
  const answer = await transform(task);
  return answer.kind === 'transformed' ? handOver(answer, [answer.result.mutations]) : answer;
}

export async function transform(task: TransformTask): Promise<TransformAnswer> {
  try {
    switch (task.kind) {
      case 'check':
        await loadTransforms(task.setup);
        return { kind: 'checked' };
      case 'transform': {
        const { setup } = task;
        const chunkTransform = await transforms.get(setup.id, async () =>
          compileTransform(setup, ...(await loadTransforms(setup)).map((found) => found?.transform)),
        );
        const startMs = performance.now();
        const result = chunkTransform(task.chunk);
        return { kind: 'transformed', result, cpuMs: performance.now() - startMs };
      }
      case 'verify': {
        const { setup } = task;
        const verify = await verifications.get(setup.id, () => Promise.resolve(compileVerification(setup)));
        const startMs = performance.now();
        const result = verify(task.chunk);
        return { kind: 'verified', result, cpuMs: performance.now() - startMs };
      }
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : `a ${typeof error} was thrown`;
    return { kind: error instanceof MigrationException ? 'invalid' : 'broken', message };
  }
}

/** What was compiled from setups, by their ids, the one used last at the end. */
export function createCompiledSetups<Compiled>() {
  const bySetup = new Map<string, Compiled>();
  return {
    async get(id: string, compile: () => Promise<Compiled>): Promise<Compiled> {
      const compiled = bySetup.get(id) ?? (await compile());
      bySetup.delete(id);
      bySetup.set(id, compiled);
      for (const oldest of bySetup.keys()) {
        if (bySetup.size <= maxCompiledSetups) break;
        bySetup.delete(oldest);
      }
      return compiled;
    },
  };
}
