import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  utimes,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { StorageException } from '../../errors.ts';
import { sleep, systemClock } from '../../ports/clock.ts';
import { systemProcess, type ProcessIdentity } from '../../ports/process.ts';
import { directoryError } from './directory.ts';

/** How often a session shows that it lives to those who cannot look at its process. */
const beatMs = 1_000;

/** How long a session of another kernel or namespace is watched before it counts as dead: two beats and a half. */
const observeMs = 2_500;

/** How long opening waits for a compaction. Copying takes a second or two for each gigabyte. */
const compactionWaitMs = 30_000;
const compactionPollMs = 20;

/**
 * Who has the directory open: one file per session, there before the data is touched. Sessions belong to real
 * processes, so they go by the system's clock whatever clock the engine was given.
 */
export class Sessions {
  readonly id: string;
  readonly directory: string;
  readonly #folder: string;
  #beats = 0;
  #timer: unknown;

  private constructor(directory: string, id: string) {
    this.directory = directory;
    this.#folder = join(directory, 'sessions');
    this.id = id;
  }

  /**
   * @param waitMs how long a compaction by another session is waited for
   * @throws StorageException ENGINE_SHARED_UNSAFELY, ENGINE_BUSY, ENGINE_DIRECTORY_INVALID
   */
  static async open(directory: string, id: string, waitMs = compactionWaitMs): Promise<Sessions> {
    const sessions = new Sessions(directory, id);
    systemProcess.sessions.add(id);
    try {
      mkdirSync(sessions.#folder, { recursive: true });
      writeFileSync(sessions.#file(id), JSON.stringify(systemProcess.identity));
      await sessions.#refuseForeign();
      await sessions.#awaitCompaction(waitMs);
    } catch (error) {
      sessions.close();
      throw directoryError(directory, error);
    }
    sessions.#beat();
    return sessions;
  }

  /** Whether nobody else has the directory open. */
  get isAlone(): boolean {
    return !this.#others().some((id) => this.isAlive(id));
  }

  /** Whether the session has its file and nothing shows that its process has ended. */
  isAlive(id: string): boolean {
    if (id === this.id) return true;
    const identity = this.#read(id);
    if (identity === undefined) return false;
    if (!isDead(identity, id)) return true;
    this.#remove(id);
    return false;
  }

  /**
   * The directory for this session alone, until `releaseDirectory`. Whoever opens it writes its own file before it
   * looks for claims, and a claim is written before its session looks for others: one of the two sees the other.
   *
   * @throws StorageException ENGINE_BUSY
   */
  claimDirectory(): void {
    writeFileSync(this.#claim(this.id), '');
    const others = this.#others().filter((id) => this.isAlive(id));
    if (others.length === 0) return;
    this.releaseDirectory();
    const processes = others.flatMap((id) => this.#read(id) ?? []).map(({ host, pid }) => ({ host, pid }));
    throw new StorageException(
      'ENGINE_BUSY',
      `The directory '${this.directory}' is open ${others.length + 1} times; only one that nobody else has open can be compacted.`,
      { details: { processes } },
    );
  }

  /** Without a claim it is fine too. */
  releaseDirectory(): void {
    rmSync(this.#claim(this.id), { force: true });
  }

  close(): void {
    if (this.#timer !== undefined) systemClock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#remove(this.id);
    systemProcess.sessions.delete(this.id);
  }

  async #refuseForeign(): Promise<void> {
    const foreign = this.#others().filter((id) => this.isAlive(id) && this.#isForeign(id));
    if (foreign.length === 0) return;
    const before = new Map(foreign.map((id) => [id, this.#beatOf(id)]));
    await sleep(systemClock, observeMs);
    for (const id of foreign) {
      const beat = this.#beatOf(id);
      if (beat !== undefined && beat !== before.get(id)) {
        const other = this.#read(id);
        throw new StorageException(
          'ENGINE_SHARED_UNSAFELY',
          'The directory is in use by a process of another kernel or process namespace; memory maps and locks do not reach across.',
          { details: { host: other?.host, pid: other?.pid } },
        );
      }
      this.#remove(id);
    }
  }

  async #awaitCompaction(waitMs: number): Promise<void> {
    const isClaimed = () => this.#others().some((id) => existsSync(this.#claim(id)) && this.isAlive(id));
    const untilMs = systemClock.monotonicMs() + waitMs;
    while (isClaimed()) {
      if (systemClock.monotonicMs() >= untilMs) {
        throw new StorageException('ENGINE_BUSY', `The directory '${this.directory}' is being compacted.`);
      }
      await sleep(systemClock, compactionPollMs);
    }
  }

  #isForeign(id: string): boolean {
    const other = this.#read(id);
    const own = systemProcess.identity;
    // Off Linux neither can be told: nothing is refused there.
    if (other === undefined || other.bootId === '' || own.bootId === '') return false;
    return other.bootId !== own.bootId || other.pidNamespace !== own.pidNamespace;
  }

  #beat(): void {
    this.#beats++;
    // The time of the file is used as a counter: nobody compares it with a clock.
    utimes(this.#file(this.id), this.#beats, this.#beats, () => undefined);
    this.#timer = systemClock.setTimeout(() => this.#beat(), beatMs);
  }

  #beatOf(id: string): number | undefined {
    return statSync(this.#file(id), { throwIfNoEntry: false })?.mtimeMs;
  }

  #others(): string[] {
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length))
      .filter((id) => id !== this.id);
  }

  #read(id: string): ProcessIdentity | undefined {
    try {
      return JSON.parse(readFileSync(this.#file(id), 'utf8')) as ProcessIdentity;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      // Cut off while it was being written: alive until it shows otherwise.
      return { host: '', pid: 0, bootId: '', pidNamespace: '', startTime: '' };
    }
  }

  #remove(id: string): void {
    rmSync(this.#claim(id), { force: true });
    rmSync(this.#file(id), { force: true });
  }

  #claim(id: string): string {
    return join(this.#folder, `${id}.compacting`);
  }

  #file(id: string): string {
    return join(this.#folder, `${id}.json`);
  }
}

function isDead(identity: ProcessIdentity, id: string): boolean {
  if (systemProcess.isCertainlyDead(identity, id)) return true;
  // Where the kernel tells no start times, an absent pid of the same host is all there is to go by.
  const own = systemProcess.identity;
  return (
    own.startTime === '' &&
    identity.host === own.host &&
    identity.pid !== own.pid &&
    isPidAbsent(identity.pid)
  );
}

function isPidAbsent(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
