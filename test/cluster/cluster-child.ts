/** A process that opens the crates in the version it is told, migrates or waits, and answers when it is asked. */
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import { natsBus } from '../../src/cluster/nats-bus.ts';
import type { GodwitException } from '../../src/errors.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { integerOf } from '../../src/migration/counters.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import type { Logger } from '../../src/telemetry/logger.ts';
import { createInlinePool } from '../rig/inline-pool.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { crateModelId, keysAt, testimonyAt } from './cluster-place.ts';
import type { Answer, ClusterCommand, ClusterOrder, ClusterReport } from './cluster-processes.ts';
import { crateId, crateOf, markCrate } from './crates.ts';
import { testifying } from './testimony.ts';

/** No owner loses its lease to a busy machine. A death is seen at once where that can be told. */
const safeTimeoutMs = 5_000;

/** Resolves when the message has left the process: whatever happens then, the parent knows. */
const report = (message: ClusterReport) =>
  new Promise<void>((resolve) => {
    process.send?.(message, undefined, undefined, () => resolve());
  });
const fail = (error: unknown) =>
  report({
    type: 'failed',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  });

const ignore = () => undefined;
const complain = (...said: readonly unknown[]) => {
  const [first] = said;
  const cause = typeof first === 'object' && first !== null && 'err' in first ? String(first.err) : '';
  void report({ type: 'failed', message: `${String(said.at(-1))}: ${cause}` });
};
const logger: Logger = {
  debug: ignore,
  info: ignore,
  // Whoever is frozen, or killed, loses its lease; nothing else is to go wrong.
  warn: (...said: readonly unknown[]) => {
    const [first] = said;
    if (typeof first !== 'object' || first === null || !('code' in first)) return;
    if ('epoch' in first && first.code !== 'LEASE_LOST') complain(...said);
  },
  error: complain,
};

/** Commits that move records pass it, or stand still. */
class Brake {
  #hold: ClusterOrder['hold'] = { records: 0 };
  #sent = 0;
  #settled = 0;
  #isHeld = false;
  readonly #waiting = new Set<() => void>();

  /** @param readMoved records moved in the database, of all times */
  async pass(records: number, readMoved: () => Promise<number>, isCommitting: () => boolean): Promise<void> {
    for (;;) {
      // What is settled while the database is read may be counted twice: then it is looked at again.
      const settled = this.#settled;
      const moved = await readMoved();
      if (moved + this.#sent - settled < this.#hold.records) break;
      if (this.#settled > settled) continue;
      const isWorthAnotherLook = new Promise<void>((resolve) => this.#waiting.add(resolve));
      if (this.#sent === settled && !this.#isHeld) await this.#stop(isCommitting);
      await isWorthAnotherLook;
    }
    this.#sent += records;
  }

  /** It was acknowledged, or failed. */
  settle(records: number): void {
    this.#settled += records;
    this.#wake();
  }

  set(hold: ClusterOrder['hold']): void {
    this.#hold = hold;
    this.#isHeld = false;
    this.#wake();
  }

  async #stop(isCommitting: () => boolean): Promise<void> {
    this.#isHeld = true;
    await report({ type: 'held' });
    if (this.#hold.freezes !== true) return;
    // Not with the writer's lock in hand, which nobody could take from it: the others would stand still too.
    while (isCommitting()) await new Promise((resolve) => setImmediate(resolve));
    process.kill(process.pid, 'SIGSTOP');
  }

  #wake(): void {
    for (const look of this.#waiting) look();
    this.#waiting.clear();
  }
}

const brake = new Brake();

async function openStore({ place, nodeId, version, ...order }: ClusterOrder) {
  const database = await openTestDatabase(place.address);
  const keys = keysAt(place).model(crateModelId);
  const counter = keys.counter('recordsMoved');
  const readMoved = () =>
    database.transact(async (tx) => integerOf(await tx.get(counter, { snapshot: true })));
  const testified = testifying(database, {
    keys,
    testimony: testimonyAt(place),
    node: nodeId,
    beforeMove: (records) => brake.pass(records, readMoved, testified.isCommitting),
    afterMove: (records) => brake.settle(records),
    afterAttempt: () => void report({ type: 'attempted' }),
  });
  const bus = order.bus === undefined ? undefined : natsBus({ servers: order.bus, reconnectTimeWait: 100 });
  if (bus !== undefined) await connected(bus);
  const definition = crateOf(version);
  const store = await FoundationDBDataStore.open({
    database: testified.database,
    subspace: place.subspace,
    storeName: 'crates',
    bus,
    dataModelsById: { [crateModelId]: definition },
    migrationHandler: backfill({ transform: markCrate }),
    migrationMaxRecordsPerSecond: order.recordsPerSecond,
    migrationLeaseTimeoutMs: order.leaseTimeoutMs ?? safeTimeoutMs,
    migrationLeaseHeartbeatMs: order.leaseHeartbeatMs,
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    persistMigrationAuditEvents: true,
    migrationAuditEventReporter: ({ type, epoch }) => void report({ type: 'audit', event: type, epoch }),
    pool: createInlinePool(),
    logger,
    nodeId,
  });
  const markOfFirst = (): Promise<string> =>
    store
      .model(definition)
      .get(crateId(0))
      .then(
        (crate) => crate?.mark ?? 'none',
        (error: unknown) => String((error as { readonly code?: unknown }).code ?? error),
      );
  return {
    async ask(): Promise<Answer> {
      const mark = await markOfFirst();
      const { state, progress, bus: seen } = await store.migrationStatus(crateModelId);
      const { recordsDone, fraction } = progress;
      return { mark, recordsDone, fraction, state, bus: seen?.type ?? 'none' };
    },
    async serve() {
      await store.awaitMigration(crateModelId).catch((error: unknown) => {
        // An operator may let it go on.
        if ((error as GodwitException).code !== 'MIGRATION_CANCELED') throw error;
        return store.whenReady();
      });
      const statuses = await store.migrationStatuses();
      const states = statuses.map(({ state }) => state);
      await report({ type: 'serving', version, mark: await markOfFirst(), states });
    },
    async operate(verb: 'pause' | 'resume' | 'cancel') {
      await store[`${verb}Migration`](crateModelId);
      await report({ type: 'operated' });
    },
    async close() {
      await store.close();
      await bus?.close();
      await database.close();
    },
  };
}

/** By then nothing that is published is dropped. */
function connected(bus: WholeMessageBus): Promise<void> {
  return new Promise((resolve) => {
    if (bus.state.type === 'connected') return resolve();
    const ignore = bus.onState(({ type }) => {
      if (type !== 'connected') return;
      ignore();
      resolve();
    });
  });
}

let opened: Awaited<ReturnType<typeof openStore>> | undefined;

async function carryOut(command: ClusterCommand): Promise<void> {
  switch (command.type) {
    case 'open':
      // What is sent after this command finds it done.
      brake.set(command.order.hold);
      await opened?.close();
      opened = await openStore(command.order);
      await report({ type: 'opened', version: command.order.version });
      await opened.serve();
      return;
    case 'hold':
      brake.set({ records: command.records });
      return;
    case 'operate':
      await opened?.operate(command.verb);
      return;
    case 'ask':
      if (opened === undefined) throw new Error('nothing is open');
      await report({ type: 'answered', question: command.question, ...(await opened.ask()) });
      return;
    case 'close':
      await opened?.close();
      await report({ type: 'closed' });
      process.disconnect();
  }
}

// Its parent is gone, or has let it go.
process.on('disconnect', () => process.exit());
process.on('unhandledRejection', (error) => void fail(error));
process.on('message', (command) => {
  carryOut(command as ClusterCommand).catch(fail);
});
void report({ type: 'loaded' });
