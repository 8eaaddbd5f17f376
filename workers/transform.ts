import { performance } from 'node:perf_hooks';
import { MigrationException } from '../src/errors.ts';
import type { ChunkTransform } from '../src/records/chunk-transform.ts';
import { compileTransform } from '../src/records/chunk-transform.ts';
import { loadTransform } from '../src/records/load-transform.ts';
import type { ChunkInput, ChunkResult, TransformSetup } from '../src/records/transform-setup.ts';

/**
 * The worker thread: transforms chunks. It has the CPU and the user's module, and never sees the database.
 */
export type TransformTask =
  | { readonly kind: 'transform'; readonly setup: TransformSetup; readonly chunk: ChunkInput }
  /** Loads the module and checks what it exports. */
  | { readonly kind: 'check'; readonly setup: TransformSetup };

export type TransformAnswer =
  /** `cpuMs`: time that the chunk took on the thread, loading and compiling left out. */
  | { readonly kind: 'transformed'; readonly result: ChunkResult; readonly cpuMs: number }
  | { readonly kind: 'checked' }
  /** The module does not fit: TRANSFORM_INVALID. */
  | { readonly kind: 'invalid'; readonly message: string }
  /** A fault of this library, or memory that ran out: no record is to blame. */
  | { readonly kind: 'broken'; readonly message: string };

/** Setups kept compiled; source: more than the models that migrate side by side (2 by default). */
const maxCompiledSetups = 16;

/** By id, the one used last at the end. */
const compiledSetups = new Map<string, ChunkTransform>();

export default async function transform(task: TransformTask): Promise<TransformAnswer> {
  try {
    switch (task.kind) {
      case 'check':
        await loadTransform(task.setup);
        return { kind: 'checked' };
      case 'transform': {
        const chunkTransform = await compiled(task.setup);
        const startMs = performance.now();
        const result = chunkTransform(task.chunk);
        return { kind: 'transformed', result, cpuMs: performance.now() - startMs };
      }
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : `a ${typeof error} was thrown`;
    return { kind: error instanceof MigrationException ? 'invalid' : 'broken', message };
  }
}

async function compiled(setup: TransformSetup): Promise<ChunkTransform> {
  const known = compiledSetups.get(setup.id);
  const chunkTransform = known ?? compileTransform(setup, (await loadTransform(setup))?.transform);
  compiledSetups.delete(setup.id);
  compiledSetups.set(setup.id, chunkTransform);
  for (const id of compiledSetups.keys()) {
    if (compiledSetups.size <= maxCompiledSetups) break;
    compiledSetups.delete(id);
  }
  return chunkTransform;
}
