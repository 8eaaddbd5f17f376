import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { leadsTo } from '../../src/migration/plan.ts';
import { readStatusIn } from '../../src/migration/read-status.ts';
import { isHalted } from '../../src/migration/state.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { resolveModels } from '../../src/model/resolve.ts';
import type { ConfiguredModel } from '../../src/records/configured-model.ts';
import { createConfiguredModel } from '../../src/records/configured-model.ts';
import type { StoreKeys } from '../../src/records/keys.ts';
import type { Picture } from './picture.ts';
import { definitionSets } from './programs.ts';
import { Violation } from './rules.ts';

/** Of commits that only bring ranges forward, one in so many is looked at: a status costs a dozen reads. */
const looksPerCommit = 1 / 4;

/** What operators are told of a migration's progress, after each commit: it never falls, and is 1 only at the end. */
export class ProgressWatch {
  readonly #database: KeyValueDatabase;
  readonly #models: readonly ConfiguredModel[];
  #skipped = 0;
  #last: MigrationStatus | undefined;

  constructor(database: KeyValueDatabase, keys: StoreKeys, modelId: number) {
    this.#database = database;
    this.#models = configured(keys, modelId);
  }

  async look(was: Picture, { state, ranges }: Picture): Promise<void> {
    // What was reset is forgotten, and what an operator resumes is verified again from the beginning.
    const isForgotten = state === undefined || (isHalted(was.state) && !isHalted(state));
    if (isForgotten || state.migrationId !== was.state?.migrationId) this.#last = undefined;
    if (state === undefined) return;
    if (was.state?.revision === state.revision) {
      this.#skipped += looksPerCommit;
      if (this.#skipped < 1) return;
      this.#skipped = 0;
    }
    const model = this.#models.find(({ hash }) => leadsTo(state.migrationId, hash));
    if (model === undefined) return;
    const context = {
      migrations: new Map(),
      clock: noClock,
      busState: () => null,
      sessions: { find: () => Promise.resolve(undefined) },
      stalledAfterMs: 60_000,
    };
    const status = await this.#database.transact((tx) => readStatusIn(tx, context, model));
    const last = this.#last;
    this.#last = status;
    const { fraction, recordsDone } = status.progress;
    if (fraction === null) return;
    const rows = Object.values(ranges).flat();
    if (fraction > 1 || fraction < 0 || (fraction === 1 && !(state.phaseCompleted && rows.every(isDone)))) {
      throw new Violation('progress is 1 at the end, and only there', `${state.phase}: ${fraction}`);
    }
    if (last?.progress.fraction === null || last?.phase !== status.phase) return;
    if (fraction < last.progress.fraction || recordsDone < last.progress.recordsDone) {
      throw new Violation(
        'what operators are told of progress never falls',
        `${state.phase}: ${last.progress.fraction} to ${fraction}, ${last.progress.recordsDone} to ${recordsDone}`,
      );
    }
  }
}

const isDone = ({ done }: { readonly done: boolean }): boolean => done;

const noClock = {
  monotonicMs: () => 0,
  wallMs: () => 0,
  setTimeout: () => undefined,
  clearTimeout: () => undefined,
};

const known = new Map<string, readonly ConfiguredModel[]>();

/** A model in each of its versions; the same for all simulations. */
function configured(keys: StoreKeys, modelId: number): readonly ConfiguredModel[] {
  const name = `${keys.prefix.toString('hex')} ${modelId}`;
  const models =
    known.get(name) ??
    definitionSets.flatMap((definitions) => {
      const { models: resolved, referenceKeys } = resolveModels(definitions);
      return resolved
        .filter(({ id }) => id === modelId)
        .map((model) => createConfiguredModel(model, keys.model(modelId), referenceKeys));
    });
  known.set(name, models);
  return models;
}
