import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import { KeyValueError } from '../../src/kv/kv.ts';
import { GodwitException } from '../../src/errors.ts';
import type { Inspector } from '../../src/migration/machine-clock.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { SeededRandom } from '../rig/seed.ts';
import { createSeededRandom } from '../rig/seed.ts';
import { checkEnd } from './end-checks.ts';
import { Invariants, Violation } from './invariants.ts';
import type { HandlerPlan, Programs } from './programs.ts';
import { createPrograms, poisonLabel } from './programs.ts';
import type { DatabaseFaults, SimCluster } from './sim-database.ts';
import { noFaults } from './sim-database.ts';
import type { Program } from './sim-node.ts';
import { SimNode } from './sim-node.ts';
import { World } from './world.ts';

/** What one seed came to. */
export interface SimulationResult {
  readonly seed: number;
  /** The first thing that went wrong; undefined where nothing did. */
  readonly failure: string | undefined;
  readonly operations: number;
  readonly faults: number;
  readonly commits: number;
  /** Of everything that happened: the same for the same seed. */
  readonly digest: string;
  readonly trace: readonly string[];
}

export interface SimulationOptions {
  /** Keeps what happened, for people. Default false. */
  readonly isTraced?: boolean | undefined;
  readonly inspect?: Inspector | undefined;
}

const subspace = ['simulated'];
const modelIds = [1, 2, 3];
/** Within this much time after the last fault everything has to be over. */
const calmMs = 600_000;

/** One history of a whole cluster, all of it drawn from the seed. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  const simulation = new Simulation(seed, options);
  await simulation.run();
  return simulation.result();
}

class Simulation {
  readonly #seed: number;
  readonly #random: SeededRandom;
  readonly #world: World;
  readonly #cluster: SimCluster;
  readonly #invariants: Invariants;
  readonly #programs: Programs;
  readonly #plan: HandlerPlan;
  readonly #living = new Set<SimNode>();
  readonly #keys = createStoreKeys(subspace);
  readonly #inspect: Inspector | undefined;
  readonly #pending = new Set<string>();
  #databaseWallMs = 1_700_000_000_000;
  #isCalm = false;
  #failure: string | undefined;
  #nodes = 0;
  /** Of the programs that were ever started: what it has begun, only it ends. */
  #newest = 0;
  #commits = 0;
  #requests = 0;
  #struck = 0;

  constructor(seed: number, { isTraced, inspect }: SimulationOptions) {
    this.#seed = seed;
    this.#random = createSeededRandom(seed);
    this.#world = new World(this.#random, isTraced);
    this.#inspect = inspect;
    const world = this.#world;
    const base = openMemoryDatabase({
      random: this.#random,
      clock: {
        monotonicMs: () => world.nowMs,
        wallMs: () => world.nowMs + this.#databaseWallMs,
        setTimeout: (callback, delayMs) => world.schedule(undefined, delayMs, callback),
        clearTimeout: (timer) => {
          if (timer !== undefined) (timer as { isOff: boolean }).isOff = true;
        },
      },
    });
    this.#invariants = new Invariants(base, this.#keys, modelIds, (violation) =>
      this.#fail(violation.message),
    );
    this.#cluster = {
      world,
      base,
      faults: noFaults,
      availableAtMs: 0,
      latencyMs: this.#random.pick([1, 5, 20]),
      operations: 0,
      strikes: 0,
      observe: (commit) => {
        this.#commits += 1;
        return this.#invariants.observe(commit);
      },
    };
    this.#plan = drawPlan(this.#random);
    this.#programs = createPrograms(world, this.#plan);
  }

  async run(): Promise<void> {
    const world = this.#world;
    try {
      await this.#seedRecords();
      const stormMs = 5_000 + this.#random.below(20_000);
      this.#cluster.faults = drawFaults(this.#random);
      const programs = this.#drawCluster();
      for (const program of programs) {
        world.schedule(undefined, this.#random.below(3_000), () => this.#start(program));
      }
      this.#storm(world.nowMs + stormMs);
      await world.runUntil(() => this.#failure !== undefined, world.nowMs + stormMs);
      if (this.#failure === undefined) await this.#calm();
    } catch (error) {
      this.#fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  }

  result(): SimulationResult {
    const { nowMs, events, trace } = this.#world;
    const { operations, strikes } = this.#cluster;
    return {
      seed: this.#seed,
      failure: this.#failure,
      operations,
      faults: strikes + this.#struck,
      commits: this.#commits,
      digest: [events, operations, this.#commits, strikes, nowMs.toFixed(6)].join('/'),
      trace,
    };
  }

  #fail(what: string): void {
    this.#world.note(undefined, () => `VIOLATION ${what}`);
    this.#failure ??= what;
  }

  #start(program: Program): SimNode {
    this.#nodes += 1;
    this.#newest = Math.max(this.#newest, this.#programs.all.indexOf(program));
    const node = new SimNode(`node-${this.#nodes}`, program, {
      cluster: this.#cluster,
      subspace,
      living: this.#living,
      faults: () =>
        this.#isCalm || this.#cluster.faults === noFaults
          ? { workerCrash: 0, workerHang: 0 }
          : { workerCrash: 0.02, workerHang: 0.01 },
      inspect: this.#inspect,
      onAudit: () => undefined,
    });
    void node.opening.then(() => {
      if (node.failure !== undefined) this.#expect(node.failure, 'open');
      if (node.store !== undefined && !this.#isCalm) this.#useStore(node, node.store);
    });
    return node;
  }

  /** Records of version 1.0 of all models. */
  async #seedRecords(): Promise<void> {
    const [first] = this.#programs.all;
    if (first === undefined) throw new Error('there is no program');
    const node = this.#start(first);
    this.#isCalm = true;
    let isDone = false;
    const fill = async () => {
      await node.opening;
      const { store } = node;
      if (store === undefined) throw new Error('the first store did not open', { cause: node.failure });
      const items = 10 + this.#random.below(140);
      await store.transact(async (tx) => {
        for (let n = 0; n < items; n += 1) {
          const label = this.#random.below(60) === 0 ? poisonLabel : `label ${this.#random.below(9)}`;
          await tx.model(modelOf(first, 1)).add({ id: nameOf(n), label, hops: 1 } as never);
          if (n % 3 > 0) continue;
          await tx.model(modelOf(first, 2)).add({ id: nameOf(n), label, hops: 1, item: nameOf(n) } as never);
          await tx.model(modelOf(first, 3)).add({ id: nameOf(n), label, hops: 1 } as never);
        }
      });
      await store.close();
      isDone = true;
    };
    fill().catch((error: unknown) => this.#fail(String(error)));
    await this.#world.runUntil(() => isDone || this.#failure !== undefined, 60_000);
    this.#living.delete(node);
    this.#isCalm = false;
  }

  /** The programs of the nodes: mostly the newest one that this history has. */
  #drawCluster(): readonly Program[] {
    const { all } = this.#programs;
    const newest = this.#random.below(3) === 0 ? 2 : 1;
    const size = 1 + this.#random.below(5);
    return Array.from({ length: size }, (_, n) => {
      const age = n > 0 && this.#random.below(4) === 0 ? this.#random.below(newest + 1) : 0;
      return all[newest - age] as Program;
    });
  }

  /** Everything that happens to the cluster from outside, until it is calm. */
  #storm(untilMs: number): void {
    const world = this.#world;
    const random = this.#random;
    const kinds = ['kill', 'freeze', 'wall', 'outage', 'jump', 'operator'].filter(
      () => random.below(2) === 0,
    );
    if (kinds.length === 0) return;
    const meanMs = random.pick([500, 2_000, 6_000]);
    const next = () => {
      world.schedule(undefined, random.fraction() * 2 * meanMs, () => {
        if (world.nowMs >= untilMs || this.#isCalm) return;
        this.#strike(random.pick(kinds));
        next();
      });
    };
    next();
  }

  #strike(kind: string): void {
    const world = this.#world;
    const random = this.#random;
    const living = [...this.#living];
    const node = living.length === 0 ? undefined : random.pick(living);
    switch (kind) {
      case 'kill': {
        if (node === undefined) return;
        this.#struck += 1;
        node.kill();
        const { all } = this.#programs;
        const at = all.indexOf(node.program);
        const moved = random.below(6) === 0 ? random.pick([at - 1, at + 1]) : at;
        world.schedule(undefined, random.below(4_000), () => {
          if (!this.#isCalm) this.#start(all[moved] ?? node.program);
        });
        return;
      }
      case 'freeze':
        if (node === undefined || node.isFrozen) return;
        this.#struck += 1;
        node.freeze();
        world.schedule(undefined, random.pick([200, 5_000, 30_000]) * (0.5 + random.fraction()), () =>
          node.thaw(),
        );
        return;
      case 'wall':
        this.#struck += 1;
        node?.clock.stepWall(random.below(240_000) - 120_000);
        return;
      case 'outage':
        this.#struck += 1;
        this.#cluster.availableAtMs = world.nowMs + random.below(12_000);
        world.note(
          undefined,
          () => `the database is away until ${this.#cluster.availableAtMs.toFixed(0)} ms`,
        );
        return;
      case 'jump':
        this.#struck += 1;
        this.#databaseWallMs += 100_000;
        return;
      case 'operator':
        if (node?.store !== undefined) this.#operate(node, node.store);
        return;
      default:
        throw new Error(`there is no ${kind}`);
    }
  }

  #operate(node: SimNode, store: FoundationDBDataStore): void {
    const random = this.#random;
    const modelId = random.pick(modelIds);
    const call = random.pick([
      'pauseMigration',
      'resumeMigration',
      'resumeMigration',
      'cancelMigration',
      'resetMigration',
      'releaseLease',
    ] as const);
    this.#world.note(node, () => `operator: ${call} ${modelId}`);
    this.#struck += 1;
    this.#track(node, call, store[call](modelId));
  }

  /** Requests of an application, one after the other. */
  #useStore(node: SimNode, store: FoundationDBDataStore): void {
    const random = this.#random;
    const next = () => {
      this.#world.schedule(node, 100 + random.fraction() * 3_000, () => {
        if (this.#isCalm || node.store !== store) return;
        this.#requests += 1;
        this.#track(node, 'request', this.#request(node.program, store)).finally(next);
      });
    };
    next();
  }

  async #request(program: Program, store: FoundationDBDataStore): Promise<void> {
    const random = this.#random;
    const modelId = random.pick(modelIds);
    const model = store.model(modelOf(program, modelId)) as unknown as AnyModelStore;
    const id = nameOf(random.below(200));
    const { version } = modelOf(program, modelId) as { readonly version: string };
    const hops = modelId === 3 ? 1 : Number(version.split('.')[0]);
    const label = `label ${random.below(9)}`;
    const extra: Readonly<Record<string, unknown>> =
      modelId === 1 && hops === 2
        ? { size: 1 }
        : modelId === 1 && hops === 3
          ? { size: '1 m' }
          : modelId === 2 && hops === 2
            ? { total: 1 }
            : {};
    switch (random.below(6)) {
      case 0:
        return void (await model.add({ id, label, hops, ...extra }));
      case 1:
        return void (await model.put({ id, label, hops, ...extra }));
      case 2:
        return void (await model.change(id, { label }));
      case 3:
        return void (await model.delete(id));
      case 4: {
        const record = await model.get(id);
        return this.#requireForm(record, hops, program);
      }
      default: {
        for await (const record of model.scan({ limit: 20 })) this.#requireForm(record, hops, program);
      }
    }
  }

  #requireForm(
    record: Readonly<Record<string, unknown>> | undefined,
    hops: number,
    { label }: Program,
  ): void {
    if (record === undefined || record['hops'] === hops) return;
    this.#fail(`a request sees records in its own form alone: ${label} saw hops ${String(record['hops'])}`);
  }

  /** Nothing that was asked may stay without an answer, unless the process died. */
  async #track(node: SimNode, what: string, promise: Promise<unknown>): Promise<void> {
    const name = `${node.name} ${what} ${this.#requests}`;
    this.#pending.add(name);
    node.world.schedule(undefined, 0, () => undefined);
    try {
      await promise;
    } catch (error) {
      this.#expect(error, what);
    } finally {
      this.#pending.delete(name);
    }
  }

  /** Errors that a careful application has to reckon with; anything else is a fault of the library. */
  #expect(error: unknown, what: string): void {
    if (error instanceof GodwitException || error instanceof KeyValueError) return;
    if (error instanceof Violation) return;
    this.#fail(
      `${what} failed with ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }

  /** Faults stop: what nobody stopped has to end, and then, once everything is mended and resumed, all of it. */
  async #calm(): Promise<void> {
    const world = this.#world;
    world.note(undefined, () => 'calm');
    this.#isCalm = true;
    this.#cluster.faults = noFaults;
    this.#cluster.availableAtMs = 0;
    for (const node of this.#living) node.thaw();
    const newest = this.#programs.all[this.#newest] as Program;
    const node =
      [...this.#living].find(({ program, failure }) => program === newest && failure === undefined) ??
      this.#start(newest);
    if (!(await this.#settle(() => node.store !== undefined || node.failure !== undefined))) {
      return this.#fail('a store opens, once nothing is wrong any more');
    }
    const { store } = node;
    if (store === undefined) return this.#fail(`a store did not open: ${String(node.failure)}`);
    await this.#untilQuiet(
      store,
      'every migration ends or stands still for cause',
      (status) => ['Idle', 'Paused', 'Canceled', 'Failed'].includes(status.state) || this.#isBlocked(status),
    );
    if (this.#failure !== undefined) return;
    this.#programs.mend();
    await this.#untilQuiet(store, 'every migration ends once it is mended and resumed', (status) => {
      if (status.state === 'Idle') return true;
      if (['Paused', 'Canceled', 'Failed'].includes(status.state)) {
        this.#track(node, 'resume', this.#leadOut(store, status));
      }
      return false;
    });
    if (this.#failure !== undefined) return;
    await checkEnd(this.#cluster.base, this.#keys, newest, modelIds, this.#invariants, (violation) =>
      this.#fail(violation),
    );
    const closing = [...this.#living].map(({ store: open }) => open?.close());
    let isClosed = false;
    void Promise.all(closing).then(() => {
      isClosed = true;
    });
    if (!(await this.#settle(() => isClosed))) this.#fail('every store closes');
  }

  #isBlocked({ state, reason }: MigrationStatus): boolean {
    return state === 'Waiting' && (reason?.code === 'dependency' || reason?.code === 'mixedRecords');
  }

  /** As an operator would who reads what the status says. */
  async #leadOut(store: FoundationDBDataStore, status: MigrationStatus): Promise<void> {
    const { lastError, reason, modelId } = status;
    const isOther = lastError?.code === 'MIGRATION_TARGET_CHANGED' || reason?.code === 'targetChanged';
    await (isOther ? store.resetMigration(modelId) : store.resumeMigration(modelId));
  }

  /** Asks for the statuses again and again, until each of them is as it should be. */
  async #untilQuiet(
    store: FoundationDBDataStore,
    promise: string,
    isQuiet: (status: MigrationStatus) => boolean,
  ): Promise<void> {
    const world = this.#world;
    const untilMs = world.nowMs + calmMs;
    let last: readonly MigrationStatus[] = [];
    let isOver = false;
    const look = async (): Promise<void> => {
      last = await store.migrationStatuses();
      isOver = last.map(isQuiet).every(Boolean);
      if (!isOver) world.schedule(undefined, 2_000, () => void look());
    };
    look().catch((error: unknown) => this.#fail(String(error)));
    await world.runUntil(() => isOver || this.#failure !== undefined, untilMs);
    if (isOver || this.#failure !== undefined) return;
    const left = last.filter((status) => status.state !== 'Idle');
    this.#fail(`${promise}: ${JSON.stringify(left)}`);
  }

  #settle(condition: () => boolean): Promise<boolean> {
    return this.#world.runUntil(() => condition() || this.#failure !== undefined, this.#world.nowMs + calmMs);
  }
}

interface AnyModelStore {
  add(record: object): Promise<unknown>;
  put(record: object): Promise<unknown>;
  change(key: unknown, change: object): Promise<unknown>;
  delete(key: unknown): Promise<unknown>;
  get(key: unknown): Promise<Readonly<Record<string, unknown>> | undefined>;
  scan(query: object): AsyncIterable<Readonly<Record<string, unknown>>>;
}

const nameOf = (n: number) => `r${String(n).padStart(4, '0')}`;

function modelOf({ dataModelsById }: Program, modelId: number) {
  const model = (dataModelsById as Readonly<Record<number, never>>)[modelId];
  if (model === undefined) throw new Error(`there is no model ${modelId}`);
  return model;
}

function drawPlan(random: SeededRandom): HandlerPlan {
  const kinds = ['throw', 'retryable', 'retry', 'sameCursor', 'slow', 'fatal'] as const;
  return {
    poison: random.pick(['none', 'none', 'fail', 'quarantine']),
    byHand: random.below(3) === 0,
    answers: random.below(2) === 0 ? [] : Array.from({ length: random.below(4) }, () => random.pick(kinds)),
    composed: random.below(2) === 0,
    maxAttempts: random.below(5) === 0 ? 3 : undefined,
  };
}

function drawFaults(random: SeededRandom): DatabaseFaults {
  const share = random.pick([0.002, 0.01, 0.04]);
  const draw = (factor = 1) => (random.below(2) === 0 ? share * factor : 0);
  return {
    conflict: draw(2),
    tooOld: draw(0.5),
    unknownApplied: draw(2),
    unknownLost: draw(2),
    tooLarge: draw(),
    throttled: draw(0.5),
    slow: draw(),
    lateWatch: draw(20),
    lostWatch: draw(20),
  };
}
