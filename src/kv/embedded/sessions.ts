import { mkdirSync, readFileSync, readdirSync, rmSync, statSync, utimes, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { StorageException } from '../../errors.ts';
import { sleep, systemClock } from '../../ports/clock.ts';
import { systemProcess, type ProcessIdentity } from '../../ports/process.ts';

/** How often a session shows that it lives to those who cannot look at its process. */
const beatMs = 1_000;

/** How long a session of another kernel or namespace is watched before it counts as dead: two beats and a half. */
const observeMs = 2_500;

/**
 * Who has the directory open: one file per session, there before the data is touched. Sessions belong to real
 * processes, so they go by the system's clock whatever clock the engine was given.
 */
export class Sessions {
  readonly id: string;
  readonly #folder: string;
  #beats = 0;
  #timer: unknown;

  private constructor(folder: string, id: string) {
    this.#folder = folder;
    this.id = id;
  }

  /** @throws StorageException ENGINE_SHARED_UNSAFELY */
  static async open(directory: string, id: string): Promise<Sessions> {
    const folder = join(directory, 'sessions');
    mkdirSync(folder, { recursive: true });
    const sessions = new Sessions(folder, id);
    systemProcess.sessions.add(id);
    writeFileSync(sessions.#file(id), JSON.stringify(systemProcess.identity));
    try {
      await sessions.#refuseForeign();
    } catch (error) {
      sessions.close();
      throw error;
    }
    sessions.#beat();
    return sessions;
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
    rmSync(this.#file(id), { force: true });
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
