import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import { eitherOf, pollIntervalMs } from '../migration/watch.ts';
import type { Clock } from '../ports/clock.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { RequestException } from '../errors.ts';
import type { Gate } from './gate.ts';

export interface ModelReadiness {
  /** Whether requests are served. */
  readonly ready: boolean;
  /** Why not: MODEL_MIGRATING, MODEL_SCHEMA_CHANGED, or an error of the database. */
  readonly reason: string | null;
}

/** What a probe asks for: whether this process can serve its models. */
export interface Readiness {
  readonly ready: boolean;
  readonly models: Readonly<Record<string, ModelReadiness>>;
}

export interface ReadinessKeeper {
  /** From memory: it costs no transaction, and is as fresh as the watch on the fences. */
  current(): Readiness;
  /** Calls back after each change; the answer ends that. */
  subscribe(onChange: () => void): () => void;
  /** Looks now, so that what this process has just done shows at once. */
  refresh(): Promise<void>;
}

/** With every model ready, nothing is expected to happen: the watches tell, and this is for those that are lost. */
const quietPollMs = 10_000;

/** Keeps in memory which models the gate lets through, by watching their fences. */
export async function keepReadiness(options: {
  readonly database: KeyValueDatabase;
  readonly clock: Clock;
  readonly gate: Gate;
  readonly models: readonly ConfiguredModel[];
  readonly signal: AbortSignal;
}): Promise<ReadinessKeeper> {
  const { database, clock, gate, models, signal } = options;
  const standing = new Map<string, ModelReadiness>();
  const listeners = new Set<() => void>();

  const look = async (arm: boolean) => {
    const { found, watches } = await database.transact(
      async (tx) => ({
        found: await Promise.all(models.map((model) => readinessOf(tx, gate, model))),
        watches: arm ? models.map(({ keys }) => tx.watch(keys.fence)) : [],
      }),
      { signal },
    );
    let isChanged = false;
    models.forEach(({ name }, at) => {
      const next = found[at] ?? { ready: false, reason: null };
      const before = standing.get(name);
      isChanged ||= before?.ready !== next.ready || before.reason !== next.reason;
      standing.set(name, next);
    });
    if (isChanged) for (const listener of listeners) listener();
    return watches;
  };

  const keep = async () => {
    while (!signal.aborted) {
      const watches = await look(true).catch(() => []);
      const isReady = [...standing.values()].every(({ ready }) => ready);
      const changes = watches.map(({ changed }) => changed);
      await eitherOf(clock, changes, isReady && watches.length > 0 ? quietPollMs : pollIntervalMs, signal);
      for (const watch of watches) watch.cancel();
    }
  };

  await look(false);
  void keep();
  return {
    current: () => ({
      ready: [...standing.values()].every(({ ready }) => ready),
      models: Object.fromEntries(standing),
    }),
    subscribe(onChange) {
      listeners.add(onChange);
      return () => void listeners.delete(onChange);
    },
    refresh: async () => void (await look(false)),
  };
}

async function readinessOf(tx: Transaction, gate: Gate, model: ConfiguredModel): Promise<ModelReadiness> {
  try {
    await gate.readGate(tx, model);
    return { ready: true, reason: null };
  } catch (error) {
    if (error instanceof RequestException) return { ready: false, reason: error.code };
    throw error;
  }
}
