import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import type { Commit } from '../engine/commit-request.ts';
import type { Engine } from '../engine/engine.ts';
import { ReadLeases, type ReadLease } from '../engine/read-leases.ts';
import { Watches } from '../engine/watches.ts';
import { KeyValueError, KeyValueErrorCode } from '../kv.ts';
import type { Sessions } from './sessions.ts';
import { LmdbSnapshot } from './snapshot.ts';
import type { Tables } from './tables.ts';

export interface ReadingEngineOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly tables: Tables;
  readonly sessions: Sessions;
}

/** The embedded engine without commits: snapshots of what others have committed. */
export class ReadingEngine implements Engine {
  readonly name = 'embedded';
  readonly clock: Clock;
  readonly random: Random;
  readonly watches = new Watches(() => undefined);
  isClosed = false;
  readonly #tables: Tables;
  readonly #sessions: Sessions;
  readonly #leases: ReadLeases;
  #closing: Promise<void> | undefined;

  constructor({ clock, random, tables, sessions }: ReadingEngineOptions) {
    this.clock = clock;
    this.random = random;
    this.#tables = tables;
    this.#sessions = sessions;
    this.#leases = new ReadLeases(clock);
  }

  openLease(): ReadLease {
    return this.#leases.open(() => new LmdbSnapshot(this.#tables));
  }

  commit(): Promise<Commit> {
    const message = 'the database was opened to be read';
    return Promise.reject(new KeyValueError(KeyValueErrorCode.clientInvalidOperation, { message }));
  }

  close(): Promise<void> {
    this.isClosed = true;
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.watches.close();
    this.#leases.close();
    await this.#tables.environment.close();
    this.#sessions.close();
  }
}
