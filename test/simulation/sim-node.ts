import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { TransformPool } from '../../src/migration/runtime.ts';
import { WorkerCrashed } from '../../src/ports/pool.ts';
import type { ProcessPort } from '../../src/ports/process.ts';
import type { Inspector } from '../../src/migration/machine-clock.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { transform } from '../../workers/transform.ts';
import type { Pace } from './pace.ts';
import type { Program } from './programs.ts';
import type { SimBus } from './sim-bus.ts';
import type { SimCluster } from './sim-database.ts';
import { connect } from './sim-database.ts';
import type { Mortal, World } from './world.ts';
import { NodeClock } from './world.ts';

export interface NodeFaults {
  /** Shares of the pool's tasks. */
  readonly workerCrash: number;
  readonly workerHang: number;
}

interface NodeParts {
  readonly cluster: SimCluster;
  readonly subspace: readonly string[];
  readonly living: Set<SimNode>;
  readonly bus: SimBus;
  readonly pace: () => Pace;
  readonly faults: () => NodeFaults;
  readonly inspect: Inspector | undefined;
  readonly onAudit: (node: SimNode, event: MigrationAuditEvent) => void;
  /** It was killed, closed, or did not open. */
  readonly onEnd: (node: SimNode) => void;
}

/** One process, from its start to its death. A restarted one is another. */
export class SimNode implements Mortal {
  readonly name: string;
  readonly program: Program;
  readonly clock: NodeClock;
  readonly process: ProcessPort;
  readonly database: KeyValueDatabase;
  isDead = false;
  isFrozen = false;
  /** From the call of `close` on. */
  isClosed = false;
  store: FoundationDBDataStore | undefined;
  /** What `open` or the store failed with, if it did. */
  failure: unknown;
  /** Settles when `open` has, or never, when the process dies before. */
  readonly opening: Promise<void>;
  readonly #parts: NodeParts;
  #doom: { operations: number; readonly side: 'before' | 'after' } | undefined;

  constructor(name: string, program: Program, parts: NodeParts) {
    const { cluster, living } = parts;
    const { world } = cluster;
    this.name = name;
    this.program = program;
    this.#parts = parts;
    const speed = world.random.pick([1, 1, 1, 0.9, 1.1]);
    this.clock = new NodeClock(world, this, speed, world.random.below(120_000) - 60_000);
    this.process = this.#createProcess();
    this.database = connect(cluster, this);
    living.add(this);
    this.opening = this.#open();
  }

  get world(): World {
    return this.#parts.cluster.world;
  }

  /** By SIGKILL: whatever it sent is on its way, whatever comes back finds nobody. */
  kill(): void {
    if (this.isDead) return;
    this.isDead = true;
    this.world.note(this, () => 'killed');
    this.#end();
  }

  /** Dies by itself, just before or just after an operation of the database, so many operations from now. */
  doom(operations: number, side: 'before' | 'after'): void {
    this.#doom = { operations, side };
  }

  operates(side: 'before' | 'after'): void {
    if (this.#doom === undefined || this.#doom.side !== side) return;
    this.#doom.operations -= 1;
    if (this.#doom.operations < 0) this.kill();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.world.note(this, () => 'closes');
    await this.store?.close();
    this.world.note(this, () => 'is closed');
    this.#end();
  }

  #end(): void {
    if (this.#parts.living.delete(this)) this.#parts.onEnd(this);
  }

  freeze(): void {
    this.isFrozen = true;
    this.world.note(this, () => 'frozen');
  }

  thaw(): void {
    if (!this.isFrozen) return;
    this.isFrozen = false;
    this.world.note(this, () => 'thawed');
    this.world.thaw(this);
  }

  /** Nothing happens to it any more. */
  spare(): void {
    this.#doom = undefined;
    this.thaw();
  }

  async #open(): Promise<void> {
    const { label, ...options } = this.program;
    this.world.note(this, () => `starts with ${label}`);
    try {
      this.store = (await FoundationDBDataStore.openWith(
        {
          persistMigrationAuditEvents: true,
          continueMigrationsInBackground: true,
          migrationStartupBudgetMs: 1_000,
          ...this.#parts.pace(),
          ...options,
          database: this.database,
          subspace: this.#parts.subspace,
          pool: this.#createPool(),
          bus: this.#parts.bus.connect(this, this.clock),
          nodeId: this.name,
          migrationAuditEventReporter: (event) => {
            this.world.note(
              this,
              () => `${event.modelName} ${event.phase ?? ''} ${event.type} ${event.message ?? ''}`,
            );
            this.#parts.onAudit(this, event);
          },
        },
        {
          clock: this.clock,
          random: this.world.random,
          process: this.process,
          inspect: this.#parts.inspect,
          fewRecords: this.#parts.cluster.sizeFactor === 1 ? undefined : { firstChunk: 4, leastSplit: 3 },
        },
      )) as FoundationDBDataStore;
      this.world.note(this, () => 'is open');
    } catch (error) {
      this.failure = error;
      this.world.note(this, () => `did not open: ${String(error)}`);
      this.#end();
    }
  }

  #createProcess(): ProcessPort {
    const { living, cluster } = this.#parts;
    const sessions = new Set<string>();
    // On some machines nobody can tell who is dead.
    const canTell = cluster.world.random.below(2) === 0;
    return {
      identity: { host: 'host', pid: 1, bootId: 'boot', pidNamespace: 'namespace', startTime: this.name },
      sessions,
      isCertainlyDead: (_holder, session) =>
        canTell && ![...living].some(({ process }) => process.sessions.has(session)),
    };
  }

  #createPool(): TransformPool {
    const { world } = this;
    let completed = 0;
    return {
      threads: 1,
      get completed() {
        return completed;
      },
      run: async (task) => {
        const { workerCrash, workerHang } = this.#parts.faults();
        const fate = world.random.fraction();
        if (fate < workerCrash) {
          this.#parts.cluster.strikes += 1;
          await world.later(this, 5, () => undefined);
          throw new WorkerCrashed('exited', 'the thread ended');
        }
        if (fate < workerCrash + workerHang) {
          this.#parts.cluster.strikes += 1;
          await new Promise<void>((resolve) => {
            world.schedule(this, 60_000, resolve);
          });
          throw new WorkerCrashed('timedOut', 'the task took too long');
        }
        const answer = await world.later(this, 2, () => transform(structuredClone(task)));
        completed += 1;
        return structuredClone(answer);
      },
      close: () => Promise.resolve(),
    };
  }
}
