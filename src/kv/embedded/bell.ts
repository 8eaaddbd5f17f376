import { closeSync, constants, openSync, watch, writeSync, type FSWatcher } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../ports/clock.ts';

/** A ring at most this often: whoever hears one looks at everything that has happened. */
const ringEveryMs = 1;

/** fs.watch may miss a ring, or not work at all; then this is how late a watch is. */
const pollMs = 100;

/** A file that is written to after commits, so that other processes look at their watches. */
export class Bell {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #file: number;
  #lastRungMs = Number.NEGATIVE_INFINITY;
  #ringTimer: unknown;
  #pollTimer: unknown;
  #watcher: FSWatcher | undefined;
  #isClosed = false;

  constructor(directory: string, clock: Clock) {
    this.#path = join(directory, 'bell');
    this.#clock = clock;
    this.#file = openSync(this.#path, constants.O_RDWR | constants.O_CREAT, 0o666);
  }

  ring(): void {
    if (this.#ringTimer !== undefined || this.#isClosed) return;
    const waitMs = ringEveryMs - (this.#clock.monotonicMs() - this.#lastRungMs);
    if (waitMs <= 0) this.#write();
    else {
      this.#ringTimer = this.#clock.setTimeout(() => {
        this.#ringTimer = undefined;
        this.#write();
      }, waitMs);
    }
  }

  /** Calls back at each ring, and now and then besides. Keeps no process alive. */
  listen(onRing: () => void): void {
    if (this.#pollTimer !== undefined || this.#isClosed) return;
    try {
      this.#watcher = watch(this.#path, { persistent: false }, onRing);
      this.#watcher.on('error', () => this.#watcher?.close());
    } catch {
      // Out of inotify watches, or a file system without: the poll is left.
      this.#watcher = undefined;
    }
    const poll = () => {
      this.#pollTimer = this.#clock.setTimeout(() => {
        poll();
        onRing();
      }, pollMs);
    };
    poll();
  }

  stopListening(): void {
    if (this.#pollTimer !== undefined) this.#clock.clearTimeout(this.#pollTimer);
    this.#pollTimer = undefined;
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.stopListening();
    if (this.#ringTimer !== undefined) {
      this.#clock.clearTimeout(this.#ringTimer);
      this.#write();
    }
    closeSync(this.#file);
  }

  #write(): void {
    this.#lastRungMs = this.#clock.monotonicMs();
    try {
      writeSync(this.#file, '.', 0);
    } catch {
      // A full disk: those who listen look now and then anyway.
    }
  }
}
