import { StorageException } from '../errors.ts';
import { systemClock, type Clock } from '../ports/clock.ts';
import { systemRandom, type Random } from '../ports/random.ts';
import { openEmbeddedToRead } from './embedded/open-to-read.ts';
import { openEmbeddedDatabase } from './embedded/open.ts';
import type { FoundationDBDatabase } from './foundationdb/binding.ts';
import { isHostDatabase, openFoundationDB, openHostDatabase } from './foundationdb/open.ts';
import type { KeyValueDatabase } from './kv.ts';
import { openMemoryDatabase } from './memory/open.ts';

export interface OpenDatabaseOptions {
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
  /** Default: the system's. */
  readonly random?: Random | undefined;
  /** Whether an embedded directory is made where there is none; else STORE_MISSING is thrown. Default true. */
  readonly create?: boolean | undefined;
}

const understood =
  "'embedded:<directory>', 'memory:', 'fdb:', 'fdb:<cluster file>', an opened Database of the package foundationdb, or an opened KeyValueDatabase";

/**
 * What the `openDatabase` that users call does (`src/store/on-demand.ts` says what that is).
 *
 * @throws StorageException DATABASE_INVALID; and what `openEmbeddedDatabase`, `openFoundationDB` and `openHostDatabase` throw.
 */
export async function openDatabase(
  address: string | KeyValueDatabase | FoundationDBDatabase,
  { clock = systemClock, random = systemRandom, create = true }: OpenDatabaseOptions = {},
): Promise<KeyValueDatabase> {
  if (isHostDatabase(address)) return openHostDatabase(address, clock);
  if (!isKeyValueDatabase(address)) return openAddress(address, { clock, random, create });
  return {
    engine: address.engine,
    createTransaction: (options) => address.createTransaction(options),
    transact: (body, options) => address.transact(body, options),
    compact: address.compact?.bind(address),
    requestsOfOthers: address.requestsOfOthers?.bind(address),
    close: () => Promise.resolve(),
  };
}

/**
 * The same, for whoever only reads. Nothing is made, and nothing of what is stored changes by opening and closing it;
 * where an address leads to nothing yet, the database is empty.
 *
 * @throws StorageException as `openDatabase`
 */
export async function openDatabaseToRead(
  address: string | KeyValueDatabase | FoundationDBDatabase,
  ports: { readonly clock: Clock; readonly random: Random },
): Promise<KeyValueDatabase> {
  const directory = typeof address === 'string' ? directoryOf(address) : undefined;
  if (directory === undefined) return openDatabase(address, ports);
  return (await openEmbeddedToRead({ directory, ...ports })) ?? openMemoryDatabase(ports);
}

const directoryOf = (address: string): string | undefined => /^embedded:(.+)$/su.exec(address)?.[1];

async function openAddress(
  address: unknown,
  options: { readonly clock: Clock; readonly random: Random; readonly create: boolean },
): Promise<KeyValueDatabase> {
  if (address === 'memory:') return openMemoryDatabase(options);
  const cluster = typeof address === 'string' ? /^fdb:(.*)$/su.exec(address)?.[1] : undefined;
  if (cluster !== undefined) {
    return openFoundationDB({ clusterFile: cluster === '' ? undefined : cluster, clock: options.clock });
  }
  const directory = typeof address === 'string' ? directoryOf(address) : undefined;
  if (directory !== undefined) return openEmbeddedDatabase({ directory, ...options });
  throw new StorageException(
    'DATABASE_INVALID',
    `The database address ${describe(address)} is not understood; it may be ${understood}.`,
  );
}

function isKeyValueDatabase(address: unknown): address is KeyValueDatabase {
  return (
    typeof address === 'object' &&
    address !== null &&
    'createTransaction' in address &&
    'transact' in address &&
    typeof address.createTransaction === 'function' &&
    typeof address.transact === 'function'
  );
}

/** Only the scheme: what follows may be a path, or hold a password by mistake. */
function describe(address: unknown): string {
  return typeof address === 'string' ? `'${address.split(':', 1)[0] ?? ''}:…'` : `of type ${typeof address}`;
}
