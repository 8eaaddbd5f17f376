/** Opens stores of many models, in this warm process or as the first thing that it does. */
import type { OpenedModels } from './open-models.ts';
import { answer, readTask } from './run-child.ts';

export type StartupTask =
  /** Once and again, many models and one in turns. `directory` is empty. */
  | { readonly kind: 'warm'; readonly directory: string; readonly rounds: number }
  /** Once, on a directory where they are up to date already, or which is empty. */
  | { readonly kind: 'cold'; readonly directory: string; readonly models: number };

export interface WarmReport {
  readonly opened: readonly OpenedModels[];
}

/** Milliseconds. */
export interface ColdReport {
  readonly importMs: number;
  /** What the first opening loads is in it. */
  readonly openMs: number;
  /** From the start of the process: loading, defining the models, opening. */
  readonly sinceStartMs: number;
}

async function openCold({
  directory,
  models,
}: Extract<StartupTask, { readonly kind: 'cold' }>): Promise<ColdReport> {
  const startedMs = performance.now();
  const { FoundationDBDataStore } = await import('../src/index.ts');
  const importMs = performance.now() - startedMs;
  const { modelsById } = await import('./open-models.ts');
  const dataModelsById = modelsById(models);
  const beganMs = performance.now();
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: ['open', models],
    dataModelsById,
  });
  const sinceStartMs = performance.now();
  await store.close();
  return { importMs, openMs: sinceStartMs - beganMs, sinceStartMs };
}

async function openWarm({
  directory,
  rounds,
}: Extract<StartupTask, { readonly kind: 'warm' }>): Promise<WarmReport> {
  const { measureOpening } = await import('./open-models.ts');
  return { opened: await measureOpening(directory, rounds) };
}

const task = readTask<StartupTask>();
answer(task.kind === 'warm' ? await openWarm(task) : await openCold(task));
