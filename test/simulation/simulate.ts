import { GodwitException } from '../../src/errors.ts';
import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import type { Inspector } from '../../src/migration/machine-clock.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import { loadOpened } from '../../src/store/on-demand.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { SeededRandom } from '../rig/seed.ts';
import { createSeededRandom } from '../rig/seed.ts';
import { recordId, useStore } from './clients.ts';
import type { Simulated } from './context.ts';
import { expectError, track } from './context.ts';
import { Approvers } from './approvers.ts';
import { checkEnd } from './end-checks.ts';
import { Invariants } from './invariants.ts';
import type { Program, Programs } from './programs.ts';
import type { Pace } from './pace.ts';
import { createPaces } from './pace.ts';
import { createPrograms, drawPlan, modelOf, poisonLabel } from './programs.ts';
import { ControlRules } from './control-rules.ts';
import { checkEvents, ignorance, positionNow } from './event-checks.ts';
import type { Follower } from './listener.ts';
import { follow, MessageRules } from './listener.ts';
import { RemoteOperators } from './remote-operators.ts';
import type { SimBusEnd } from './sim-bus.ts';
import { longestOnBusMs, SimBus } from './sim-bus.ts';
import type { SimCluster } from './sim-database.ts';
import { noFaults } from './sim-database.ts';
import { SimNode } from './sim-node.ts';
import type { Violation } from './rules.ts';
import { drawFaults, restart, Storm, varied } from './storm.ts';
import { NodeClock, World } from './world.ts';

/** What one seed came to. */
export interface SimulationResult {
  readonly seed: number;
  /** The first thing that went wrong; undefined where nothing did. */
  readonly failure: string | undefined;
  /** Of the database. */
  readonly operations: number;
  readonly faults: number;
  /** Of everything that happened: the same for the same seed. */
  readonly digest: string;
  readonly trace: readonly string[];
}

export interface SimulationOptions {
  /** Keeps what happened, for people. Default false. */
  readonly isTraced?: boolean | undefined;
  readonly inspect?: Inspector | undefined;
}

/** Somebody who has nothing but the bus. */
interface Outsider {
  readonly bus: SimBusEnd;
  readonly clock: NodeClock;
}

const subspace = ['simulated'];
const busStream = 0x6275_7300;
const approvalStream = 0x6170_7072;
const paceStream = 0x5eed_9ace;
/** Within this much time after the last fault everything has to be over. */
const calmMs = 600_000;

/** One history of a whole cluster, all of it drawn from the seed. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  // Files take real time: loaded by the first store, they would make another history of the same seed.
  await loadOpened();
  const simulation = new Simulation(seed, options);
  await simulation.run();
  return simulation.result();
}

class Simulation implements Simulated {
  readonly world: World;
  readonly random: SeededRandom;
  readonly cluster: SimCluster;
  readonly invariants: Invariants;
  readonly programs: Programs;
  readonly modelIds: readonly number[];
  readonly bus: SimBus;
  readonly operators: RemoteOperators;
  readonly #approvers: Approvers;
  /** By name, the dead ones too. */
  readonly nodes = new Map<string, SimNode>();
  readonly living = new Set<SimNode>();
  readonly pending: Simulated['pending'] = new Map();
  isCalm = true;
  struck = 0;
  readonly #seed: number;
  readonly #keys = createStoreKeys(subspace);
  readonly #messages: MessageRules;
  readonly #follower: Follower;
  readonly #inspect: Inspector | undefined;
  readonly #drawPace: () => Pace;
  #storm: Storm | undefined;
  #failure: string | undefined;
  #commits = 0;
  /** Of the programs that were ever started: what it has begun, only it ends. */
  #newest = 0;

  constructor(seed: number, { isTraced, inspect }: SimulationOptions) {
    this.#seed = seed;
    this.#inspect = inspect;
    this.random = createSeededRandom(seed);
    this.world = new World(this.random, isTraced);
    const { world } = this;
    const base = openMemoryDatabase({
      random: this.random,
      clock: {
        monotonicMs: () => world.nowMs,
        wallMs: () => 1_700_000_000_000 + world.nowMs + this.cluster.versionOffsetMs,
        setTimeout: (callback, delayMs) => world.schedule(undefined, delayMs, callback),
        clearTimeout(timer) {
          if (timer !== undefined) (timer as { isOff: boolean }).isOff = true;
        },
      },
    });
    this.modelIds = this.random.pick([[1], [1, 2], [1, 2], [1, 3], [1, 2, 3]]);
    const report = ({ message }: Violation) => this.fail(message);
    const control = new ControlRules(report);
    this.#messages = new MessageRules(this.modelIds, this.fail);
    this.invariants = new Invariants(base, this.#keys, this.modelIds, report, control);
    this.cluster = {
      world,
      base,
      faults: noFaults,
      availableAtMs: 0,
      // One range, one that is worth cutting, or several.
      sizeFactor: [1, 60, 200][seed % 3] ?? 1,
      versionOffsetMs: 0,
      latencyMs: this.random.pick([1, 5, 20]),
      operations: 0,
      strikes: 0,
      observe: (commit) => {
        this.#commits += 1;
        return this.invariants.observe(commit);
      },
    };
    this.programs = createPrograms(world, drawPlan(this.random), this.modelIds);
    // Whatever is on the bus, and whoever uses it from outside, draws from a stream of its own.
    const onBus = createSeededRandom(seed ^ busStream);
    this.#drawPace = createPaces(createSeededRandom(seed ^ paceStream), () => this.isCalm);
    this.bus = new SimBus(world, onBus, {
      published: (subject, payload) => this.#messages.published(subject, payload),
      answered: (...heard) => control.answered(...heard),
    });
    const [dashboard, bot] = ['dashboard', 'bot'].map((name) => {
      const end = { name, isDead: false, isFrozen: false };
      const clock = new NodeClock(world, end, 1, 0, onBus);
      return { bus: this.bus.connect(end, clock), clock };
    }) as [Outsider, Outsider];
    this.#follower = follow(this, dashboard.bus, dashboard.clock);
    this.operators = new RemoteOperators(this, { ...bot, random: onBus.fork(), rules: control });
    this.#approvers = new Approvers(this, createSeededRandom(seed ^ approvalStream));
  }

  async run(): Promise<void> {
    const { world, random } = this;
    try {
      await this.#seedRecords();
      this.isCalm = false;
      this.cluster.faults = drawFaults(random);
      for (const program of this.#drawCluster()) {
        world.schedule(undefined, random.below(1_000), () => this.start(program));
      }
      this.#storm = new Storm(this);
      this.#storm.begin();
      await world.runUntil(() => this.#failure !== undefined, world.nowMs + 1_000 + random.below(6_500));
      if (this.#failure === undefined) await this.#calm();
    } catch (error) {
      this.fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  }

  result(): SimulationResult {
    const { nowMs, events, trace } = this.world;
    const { operations, strikes } = this.cluster;
    return {
      seed: this.#seed,
      failure: this.#failure,
      operations,
      faults: strikes + this.struck,
      digest: [events, operations, this.#commits, strikes, nowMs.toFixed(6)].join('/'),
      trace,
    };
  }

  readonly fail = (what: string): void => {
    this.world.note(undefined, () => `WRONG: ${what}`);
    this.#failure ??= what;
  };

  start(program: Program): SimNode {
    const at = this.programs.all.findIndex(({ label }) => label === program.label);
    this.#newest = Math.max(this.#newest, at);
    const node = new SimNode(`node-${this.nodes.size + 1}`, this.#approvers.vary(program), {
      cluster: this.cluster,
      subspace,
      living: this.living,
      bus: this.bus,
      pace: this.#drawPace,
      faults: () =>
        this.isCalm ? { workerCrash: 0, workerHang: 0 } : { workerCrash: 0.02, workerHang: 0.005 },
      inspect: this.#inspect,
      onAudit: (from, event) => {
        this.#storm?.heard(from, event);
        this.operators.heard(event);
        this.#approvers.heard(event);
      },
      onEnd: (ended) => {
        if (!this.isCalm) restart(this, ended);
      },
    });
    this.nodes.set(node.name, node);
    void node.opening.then(() => {
      if (node.failure !== undefined) expectError(this, 'open', node.failure);
      if (node.store !== undefined && !this.isCalm) useStore(this, node, node.store);
    });
    return node;
  }

  /** Records of version 1.0 of all models. */
  async #seedRecords(): Promise<void> {
    const { random } = this;
    const first = this.programs.all[0] as Program;
    const node = this.start(first);
    const fill = async () => {
      await node.opening;
      if (node.store === undefined) throw new Error('the first store did not open', { cause: node.failure });
      const items = random.below(random.pick([10, 30, 120]));
      await node.store.transact(async (tx) => {
        for (let n = 0; n < items; n += 1) {
          const label = random.below(60) === 0 ? poisonLabel : `label ${random.below(9)}`;
          const id = recordId(n);
          const common = { id, label, hops: 1 };
          await tx.model(modelOf(first, 1) as never).add(common as never);
          if (n % 3 > 0) continue;
          for (const modelId of this.modelIds.slice(1)) {
            const own = modelId === 2 ? { ...common, item: id } : common;
            await tx.model(modelOf(first, modelId) as never).add(own as never);
          }
        }
      });
      await node.close();
    };
    await this.#within('the first records are written', fill());
  }

  /** The programs of the nodes: mostly the newest one that this history begins with. */
  #drawCluster(): readonly Program[] {
    const { random } = this;
    const { all } = this.programs;
    const newest = random.below(3) === 0 ? 2 : 1;
    return Array.from({ length: 1 + random.below(5) }, (_, n) => {
      const age = n > 0 && random.below(4) === 0 ? random.below(newest + 1) : 0;
      return varied(random, all[newest - age] as Program);
    });
  }

  /** Faults stop: what nobody stopped has to end, and then, once everything is mended and resumed, all of it. */
  async #calm(): Promise<void> {
    this.world.note(undefined, () => 'calm');
    this.isCalm = true;
    this.cluster.faults = noFaults;
    this.cluster.availableAtMs = 0;
    this.bus.isLossy = false;
    this.bus.cut(0);
    this.operators.haunt();
    const position = await positionNow(this.cluster.base);
    for (const node of this.living) node.spare();
    // Who only watches adds nothing but time, mostly.
    const watching = this.random.below(6) === 0 ? [] : [...this.living].slice(1);
    for (const node of watching) {
      if (node.store !== undefined && !node.isClosed) void track(this, node, 'close', node.close());
    }
    const newest = this.programs.all[this.#newest] as Program;
    const node = this.start(newest);
    await this.#within('a store opens, once nothing is wrong any more', node.opening);
    const { store } = node;
    if (store === undefined) {
      // A reset left records of two versions, and this program was not written for them: it needs another one.
      if (codeOf(node.failure) === 'MIGRATION_MIXED_RECORDS') return;
      return this.fail(`a store did not open: ${String(node.failure)}`);
    }
    let doesItemStand = false;
    await this.#untilAll(store, 'every migration ends, or stands still for cause', (status) => {
      const isRight = isOver(status) || isBlocked(status);
      this.#approvers.settle(store, node, status);
      if (status.modelId === 1) doesItemStand = isRight && status.state !== 'Idle';
      // Where its owner is dead, nobody takes the place while what it depends on stands still.
      return isRight || (status.modelId === 2 && doesItemStand);
    });
    this.programs.mend();
    await this.#untilAll(store, 'every migration ends, once it is mended and resumed', (status) => {
      this.#approvers.settle(store, node, status);
      if (status.state !== 'Idle' && isOver(status)) void track(this, node, 'resume', leadOut(store, status));
      return status.state === 'Idle';
    });
    await this.#within('what is in quarantine goes back', this.#restore(store));
    await checkEnd(this.cluster.base, this.#keys, newest, this.modelIds, this.invariants, (what) =>
      this.fail(what),
    );
    const opening = Promise.all([...this.living].map((one) => one.opening));
    await this.#within('every process opens its store, or fails to', opening);
    let ignorant: string | undefined;
    const learn = async () => {
      while ((ignorant = await ignorance(this.#eventParts)) !== undefined) await world.sleep(100);
    };
    const { world } = this;
    await this.#within('a follower learns the truth from who is there', learn(), () => String(ignorant));
    const open = [...this.living].filter(({ store: opened, isClosed }) => opened !== undefined && !isClosed);
    // What commits while its store closes is kept, and may not be told: whoever would tell is going.
    const until = await positionNow(this.cluster.base);
    await this.#within('every store closes', Promise.all(open.map((one) => one.close())));
    const unanswered = () =>
      [...this.pending.values()].find(({ node: asked }) => !asked.isDead && asked.failure === undefined);
    await this.world.runUntil(() => unanswered() === undefined, this.world.nowMs + calmMs);
    const left = unanswered();
    if (left !== undefined) this.fail(`nobody waits for ever: ${left.what} on ${left.node.name} does`);
    // What is on the bus arrives.
    await this.world.runUntil(() => this.#failure !== undefined, this.world.nowMs + longestOnBusMs);
    const calm = { position, until, nodes: new Set(open.map(({ name }) => name)) };
    await checkEvents({ ...this.#eventParts, messages: this.#messages, calm, fail: this.fail });
  }

  get #eventParts() {
    const { cluster, nodes, modelIds } = this;
    return { database: cluster.base, keys: this.#keys, follower: this.#follower, nodes, modelIds };
  }

  /** The program is mended: nothing keeps a record from being moved. */
  async #restore(store: FoundationDBDataStore): Promise<void> {
    for (const modelId of this.modelIds) {
      if (this.invariants.setAside(modelId).size === 0) continue;
      const { left } = await store.retryQuarantined(modelId);
      // What an application has added anew meanwhile stays where it is.
      const [missing] = this.invariants.setAside(modelId);
      if (missing === undefined) continue;
      this.fail(
        `${missing} of model ${modelId} stays in quarantine: ${left.map(({ message }) => message).join()}`,
      );
    }
  }

  /** Asks for the statuses again and again, until each of them is as it should be. */
  async #untilAll(
    store: FoundationDBDataStore,
    promise: string,
    isRight: (status: MigrationStatus) => boolean,
  ): Promise<void> {
    let left: MigrationStatus | undefined;
    // One after the other: a look at all of them is for the end.
    const look = async (): Promise<void> => {
      for (;;) {
        for (const modelId of this.modelIds) {
          for (let pauseMs = 100; ; pauseMs = Math.min(2 * pauseMs, 2_000)) {
            left = await store.migrationStatus(modelId);
            if (isRight(left)) break;
            await this.world.sleep(pauseMs);
          }
        }
        if ((await store.migrationStatuses()).every((status) => isRight(status))) return;
      }
    };
    await this.#within(promise, look(), () => JSON.stringify(left));
  }

  /** Lets the world go on until the promise is settled, which it has to be in time. */
  async #within(what: string, promise: Promise<unknown>, detail = () => ''): Promise<void> {
    if (this.#failure !== undefined) return;
    let isSettled = false;
    promise.then(
      () => {
        isSettled = true;
      },
      (error: unknown) =>
        this.fail(`${what}: ${error instanceof Error ? (error.stack ?? '') : String(error)}`),
    );
    await this.world.runUntil(() => isSettled || this.#failure !== undefined, this.world.nowMs + calmMs);
    if (!isSettled) this.fail(`${what} ${detail()}`);
  }
}

const codeOf = (error: unknown): unknown => (error instanceof GodwitException ? error.code : undefined);

function isOver({ state }: MigrationStatus): boolean {
  return state === 'Idle' || state === 'Paused' || state === 'Canceled' || state === 'Failed';
}

/** By a dependency that stands still, or by a reset after which nobody has anything to do. */
function isBlocked({ state, reason }: MigrationStatus): boolean {
  return state === 'Waiting' && (reason?.code === 'dependency' || reason?.code === 'mixedRecords');
}

/** As an operator would who reads what the status says. */
async function leadOut(store: FoundationDBDataStore, status: MigrationStatus): Promise<void> {
  const { lastError, reason, modelId } = status;
  const isOther = lastError?.code === 'MIGRATION_TARGET_CHANGED' || reason?.code === 'targetChanged';
  await (isOther ? store.resetMigration(modelId) : store.resumeMigration(modelId));
}
