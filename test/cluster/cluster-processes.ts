import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import type { MigrationAuditEventType } from '../../src/migration/audit.ts';
import { integerOf } from '../../src/migration/counters.ts';
import { readOwner } from '../../src/migration/owner.ts';
import { watchUntil } from '../../src/migration/watch.ts';
import { systemClock } from '../../src/ports/clock.ts';
import type { ModelKeys } from '../../src/records/keys.ts';
import type { RemovablePlace } from '../rig/test-database.ts';
import { createTestPlace } from '../rig/test-database.ts';
import type { TestPlace } from '../rig/test-place.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { crateModelId, keysAt, testimonyAt } from './cluster-place.ts';
import { addCrates } from './crates.ts';
import type { Testimony } from './testimony.ts';
import { readTestimonies } from './testimony.ts';

export interface ClusterOrder {
  readonly place: TestPlace;
  readonly nodeId: string;
  readonly version: number;
  readonly leaseTimeoutMs?: number | undefined;
  readonly leaseHeartbeatMs?: number | undefined;
  readonly recordsPerSecond?: number | undefined;
  /** `nats://...`: it is connected before the store is opened. Default: none. */
  readonly bus?: string | undefined;
  /**
   * Once so many records were moved in this database, of all times, no commit that moves some is sent. With `freezes`
   * the process stops itself then (SIGSTOP).
   */
  readonly hold: { readonly records: number; readonly freezes?: boolean };
}

export type ClusterCommand =
  | { readonly type: 'open'; readonly order: ClusterOrder }
  | { readonly type: 'close' }
  | { readonly type: 'hold'; readonly records: number }
  | { readonly type: 'operate'; readonly verb: 'pause' | 'resume' | 'cancel' }
  | { readonly type: 'ask'; readonly question: number };

/** What a process sees through its own store. */
export interface Answer {
  /** Of the first crate; the code of the refusal where it is not served. */
  readonly mark: string;
  /** Of the migration under way, by its status. */
  readonly recordsDone: number;
  readonly fraction: number | null;
  readonly state: string;
  /** Of its bus. */
  readonly bus: string;
}

export type ClusterReport =
  | { readonly type: 'loaded' | 'held' | 'operated' | 'closed' }
  /** It has tried to own what another process had given back. */
  | { readonly type: 'attempted' }
  /** `open` has returned; migrations go on. */
  | { readonly type: 'opened'; readonly version: number }
  | { readonly type: 'audit'; readonly event: MigrationAuditEventType; readonly epoch: number }
  | ({ readonly type: 'answered'; readonly question: number } & Answer)
  /** The migration is over, for whoever awaits it. */
  | {
      readonly type: 'serving';
      readonly version: number;
      readonly mark: string;
      readonly states: readonly string[];
    }
  | { readonly type: 'failed'; readonly message: string };

export interface ClusterProcess {
  readonly nodeId: string;
  readonly pid: number;
  readonly reports: readonly ClusterReport[];
  /** Opens the crates; a store that it has open already is closed first. */
  open(order: Omit<ClusterOrder, 'place' | 'nodeId'>): void;
  /** From now on commits are held there. */
  hold(records: number): void;
  /** Through its store; `operated` is reported when the intent is written. */
  operate(verb: 'pause' | 'resume' | 'cancel'): void;
  close(): void;
  ask(): Promise<Answer>;
  /** Resolves with the first report for which it holds; rejects when the process fails or ends before. */
  reported<R extends ClusterReport>(isIt: (report: ClusterReport) => report is R): Promise<R>;
  send(signal: 'SIGCONT'): void;
  /** SIGKILL, and waits for its end. Fine when it has ended. */
  kill(): Promise<void>;
}

const script = fileURLToPath(new URL('./cluster-child.ts', import.meta.url));

type Of<T extends ClusterReport['type']> = Extract<ClusterReport, { readonly type: T }>;
type Recogniser<T extends ClusterReport['type']> = (report: ClusterReport) => report is Of<T>;

export const isReport =
  <T extends ClusterReport['type']>(type: T): Recogniser<T> =>
  (report): report is Of<T> =>
    report.type === type;
export const isOf =
  <T extends 'opened' | 'serving'>(type: T, version: number): Recogniser<T> =>
  (report): report is Of<T> =>
    report.type === type && report.version === version;
export const isAudit =
  (event: MigrationAuditEventType): Recogniser<'audit'> =>
  (report): report is Of<'audit'> =>
    report.type === 'audit' && report.event === event;

/** Processes that share a database, and this one, which looks on. */
export class Cluster {
  readonly place: RemovablePlace;
  readonly database: KeyValueDatabase;
  readonly keys: ModelKeys;
  readonly #started: ClusterProcess[] = [];
  readonly #failing = new AbortController();

  private constructor(place: RemovablePlace, database: KeyValueDatabase) {
    this.place = place;
    this.database = database;
    this.keys = keysAt(place).model(crateModelId);
  }

  /** With that many crates of version 1. */
  static async create(purpose: string, crates: number): Promise<Cluster> {
    const place = createTestPlace(purpose);
    const database = await openTestDatabase(place.address);
    await addCrates(database, place, crates);
    return new Cluster(place, database);
  }

  /** All that were started, dead ones too. */
  get processes(): readonly ClusterProcess[] {
    return this.#started;
  }

  /** What processes have reported as gone wrong, by node. */
  get failures(): readonly string[] {
    return this.#started.flatMap(({ nodeId, reports }) =>
      reports.flatMap((report) => (report.type === 'failed' ? [`${nodeId}: ${report.message}`] : [])),
    );
  }

  /** A process that has been loaded and waits for `open`. */
  async start(nodeId = `node-${this.#started.length}`): Promise<ClusterProcess> {
    const started = startProcess(nodeId, this.place, () => this.#failing.abort());
    this.#started.push(started);
    await started.reported(isReport('loaded'));
    return started;
  }

  /** Looks at the database whenever one of the keys changes, until there is an answer. @throws Error when a process fails */
  async until<T>(
    sentence: string,
    keys: readonly Uint8Array[],
    look: (tx: Transaction) => Promise<T | undefined>,
  ): Promise<T> {
    const { database } = this;
    const signal = AbortSignal.any([this.#failing.signal, AbortSignal.timeout(untilMs)]);
    const found = await watchUntil({
      database,
      clock: systemClock,
      keys,
      signal,
      pollMs,
      isAwaited: true,
      look,
    });
    if (found === undefined) throw new Error(`never seen: ${sentence}. ${await this.#describe()}`);
    return found;
  }

  /** What there is to see when something did not happen. */
  async #describe(): Promise<string> {
    const counter = this.keys.counter('recordsMoved');
    const [owner, moved] = await this.database.transact(async (tx) => [
      await readOwner(tx, this.keys),
      integerOf(await tx.get(counter)),
    ]);
    const last = this.#started.map(({ nodeId, reports }) => `${nodeId}: ${JSON.stringify(reports.at(-1))}`);
    return `${moved} records are moved, the owner is ${JSON.stringify(owner)}; last said: ${last.join(', ')}`;
  }

  testimonies(): Promise<readonly Testimony[]> {
    return this.database.transact((tx) => readTestimonies(tx, testimonyAt(this.place)));
  }

  async close(): Promise<void> {
    await Promise.all(this.#started.map((started) => started.kill()));
    await this.database.close();
    await this.place.remove();
  }
}

/** Longer than anything takes on a machine that does something else too. */
const untilMs = 60_000;
/** For changes that no watch tells of. */
const pollMs = 100;

function startProcess(nodeId: string, place: TestPlace, onFailure: () => void): ClusterProcess {
  const child = fork(script, { execArgv: ['--import', 'tsx'] });
  const reports: ClusterReport[] = [];
  const listeners = new Set<() => void>();
  let hasEnded = false;
  let questions = 0;
  const tell = () => {
    for (const listener of listeners) listener();
  };
  child.on('message', (message) => {
    const report = message as ClusterReport;
    reports.push(report);
    if (report.type === 'failed') onFailure();
    tell();
  });
  // What was reported before the end may arrive after the exit, but not after the end of the channel.
  const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]).then(() => {
    hasEnded = true;
    tell();
  });
  const send = (command: ClusterCommand) => {
    // It may have been killed meanwhile.
    if (child.connected) child.send(command, () => undefined);
  };
  const reported: ClusterProcess['reported'] = (isIt) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = reports.find(isIt);
        const failed = reports.find(({ type }) => type === 'failed');
        if (found === undefined && failed === undefined && !hasEnded) return;
        listeners.delete(look);
        if (found !== undefined) resolve(found);
        else reject(new Error(`${nodeId} ended before that: ${JSON.stringify(failed ?? reports.at(-1))}`));
      };
      listeners.add(look);
      look();
    });
  return {
    nodeId,
    pid: child.pid ?? 0,
    reports,
    reported,
    open: (order) => send({ type: 'open', order: { ...order, place, nodeId } }),
    hold: (records) => send({ type: 'hold', records }),
    operate: (verb) => send({ type: 'operate', verb }),
    close: () => send({ type: 'close' }),
    async ask() {
      const question = (questions += 1);
      send({ type: 'ask', question });
      const isAnswer = (report: ClusterReport): report is Of<'answered'> =>
        report.type === 'answered' && report.question === question;
      const { mark, recordsDone, fraction, state, bus } = await reported(isAnswer);
      return { mark, recordsDone, fraction, state, bus };
    },
    send: (signal) => void child.kill(signal),
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
