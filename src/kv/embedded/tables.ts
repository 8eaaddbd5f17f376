import { existsSync, linkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import { StorageException } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { systemRandom } from '../../ports/random.ts';
import type { Key } from '../engine/keys.ts';
import { isSetBack, realign } from './realign.ts';
import { copyOut } from './slab.ts';

/** One LMDB environment with the engine's three tables. */
export interface Tables {
  readonly environment: RootDatabase;
  /** The directory of the files. */
  readonly path: string;
  /** User keys to values. */
  readonly data: Database<Buffer, Key>;
  /** Commit version (8 bytes) to what the commit wrote. */
  readonly log: Database<Buffer, Key>;
  /** State and sessions, by name. */
  readonly meta: Database<Buffer, Key>;
}

/** Over all processes; one for each open snapshot. */
const maxReaders = limits.engine.readers.value;

/** LMDB gives each a cache line. */
const readerBytes = 64;

/**
 * The size of LMDB's tests and of most kernels' pages: small commits write least with it. LMDB then takes keys of up to
 * 1,978 bytes; longer ones lie in buckets (long-keys.ts).
 */
const pageSize = 4_096;

/** LMDB refuses empty keys, so each of ours has one byte before it. */
const keyMark = 1;

// The key encoder and the value encoder are outside the declared types of lmdb, but documented in its readme.
const keyEncoder = {
  writeKey(key: Key, target: Buffer, position: number): number {
    // Buffer's write would cut what does not fit; lmdb expects this error and comes back with more room.
    if (position + 1 + key.length > target.length) throw new RangeError('no room for the key');
    target[position] = keyMark;
    return position + 1 + target.write(key, position + 1, 'latin1');
  },
  readKey: (source: Buffer, start: number, end: number): Buffer => copyOut(source, start + 1, end),
};
const encoder = {
  encode: (value: Buffer): Buffer => value,
  decode: (bytes: Buffer): Buffer => copyOut(bytes, 0, bytes.length),
};

/**
 * LMDB makes the file of its readers without a block on the disk and maps it: on a full disk the process that touches a
 * page of it for the first time would get SIGBUS. So it is made here, with all its blocks, and appears at once.
 */
function reserveLockFile(path: string): void {
  const lockFile = join(path, 'lock.mdb');
  if (existsSync(lockFile)) return;
  const draft = join(path, `lock.${systemRandom.id()}`);
  try {
    writeFileSync(draft, Buffer.alloc(maxReaders * readerBytes));
    linkSync(draft, lockFile);
  } catch (error) {
    // Another process was first, or the file system knows no links: then LMDB makes its own.
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/**
 * @param create whether tables that are missing are made. Default true
 * @throws StorageException ENGINE_DIRECTORY_INVALID when LMDB cannot be loaded or refuses the files, or tables are missing
 */
export async function openTables(path: string, { create = true } = {}): Promise<Tables> {
  try {
    // Loaded by whoever opens a directory, not by whoever imports the library.
    const { open } = await import('lmdb');
    reserveLockFile(path);
    const settings = { maxDbs: 4, maxReaders, pageSize, noSubdir: false, cache: false };
    // With lmdb's overlapping flushes the kill of one process takes back commits that another was told of.
    const environment = open({ path, ...settings, overlappingSync: false });
    try {
      environment.readerCheck();
      const table = (name: string) =>
        environment.openDB<Buffer, Key>({ name, keyEncoder, encoder, create } as unknown as { name: string });
      return { environment, path, data: table('data'), log: table('log'), meta: table('meta') };
    } catch (error) {
      await environment.close();
      throw error;
    }
  } catch (error) {
    throw new StorageException(
      'ENGINE_DIRECTORY_INVALID',
      `The files of the embedded engine in '${path}' cannot be opened: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
}

/**
 * Runs `action` in the exclusive write transaction, which lmdb waits for off the main thread; resolves when it is on
 * the disk. Rejects with what LMDB says when the commit fails (a full disk): then nothing of it is there.
 */
export async function writeExclusively<T>(tables: Tables, action: () => T): Promise<T> {
  // Ends: it goes round once for each process that opens the directory in just the wrong moment.
  for (;;) {
    const written = await writeUnlessSetBack(tables, action);
    if (written !== undefined) return written.result;
    await realign(tables.path);
  }
}

/** Undefined: nothing was done, because what is written would take the place of what others have committed. */
async function writeUnlessSetBack<T>(
  { environment }: Tables,
  action: () => T,
): Promise<{ readonly result: T } | undefined> {
  const ignore = () => undefined;
  try {
    return await environment.transaction(() => {
      // lmdb makes a second promise for the batch of this turn; when a commit fails nobody else handles it.
      void environment.committed.then(ignore, ignore);
      return isSetBack(environment) ? undefined : { result: action() };
    });
  } catch (error) {
    // The reason comes in a promise of its own.
    const { commitError } = error as { readonly commitError?: Promise<never> };
    if (commitError === undefined) throw error;
    return await commitError;
  }
}
