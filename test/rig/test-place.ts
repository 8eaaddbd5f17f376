import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { openFoundationDB } from '../../src/kv/foundationdb/open.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { openDatabase } from '../../src/kv/open.ts';
import type { Subspace } from '../../src/records/keys.ts';
import { createFakeFoundationDB, someClusterFile, sourceOf } from './fake-foundationdb.ts';

/** Where the data of one test lies: plain data, so that it can be handed to another process. */
export interface TestPlace {
  /** For `openTestDatabase`. */
  readonly address: string;
  /** Drawn anew for each place: whatever a test writes lies under it. */
  readonly subspace: Subspace;
}

/**
 * The one database that all tests share, each under a subspace of its own; undefined: every test has a database to itself.
 *
 * - `FDB_CLUSTER_FILE=<file>`: a FoundationDB cluster
 * - `GODWIT_TEST_DATABASE=embedded`: a directory of the embedded engine, `GODWIT_TEST_DIRECTORY`
 * - `GODWIT_TEST_DATABASE=fake`: the same directory, through the driver of FoundationDB and a stand-in for its client
 */
export const sharedAddress = addressFrom(process.env);

function addressFrom({
  FDB_CLUSTER_FILE: clusterFile = '',
  GODWIT_TEST_DATABASE: kind = '',
  GODWIT_TEST_DIRECTORY: directory = '',
}: NodeJS.ProcessEnv): string | undefined {
  if (kind === '') return clusterFile === '' ? undefined : `fdb:${clusterFile}`;
  if (kind !== 'embedded' && kind !== 'fake')
    throw new Error(`GODWIT_TEST_DATABASE is 'embedded' or 'fake', not '${kind}'.`);
  if (directory === '') throw new Error(`GODWIT_TEST_DATABASE=${kind} needs GODWIT_TEST_DIRECTORY.`);
  return `${kind}:${directory}`;
}

const opened = new Map<string, { readonly database: Promise<KeyValueDatabase>; users: number }>();

/**
 * What an address names: those that the product takes, and `fake:<directory>`. Once per process, however often it is asked
 * for: it ends with the last `close()`.
 */
export async function openTestDatabase(address: string): Promise<KeyValueDatabase> {
  const entry = opened.get(address) ?? { database: openAddress(address), users: 0 };
  opened.set(address, entry);
  entry.users += 1;
  let isClosed = false;
  const database = await entry.database;
  return {
    engine: database.engine,
    createTransaction: (options) => database.createTransaction(options),
    transact: (body, options) => database.transact(body, options),
    async close() {
      if (isClosed) return;
      isClosed = true;
      entry.users -= 1;
      if (entry.users > 0) return;
      opened.delete(address);
      await database.close();
    },
  };
}

/** The same, by a connection of the caller's own. */
export async function openAddress(address: string): Promise<KeyValueDatabase> {
  const directory = /^fake:(.+)$/su.exec(address)?.[1];
  if (directory === undefined) return openDatabase(address);
  const underneath = await openEmbeddedDatabase({ directory });
  // In parts of some size: as the client answers, but without one turn of the loop for every three pairs.
  const fake = createFakeFoundationDB(underneath, { partPairs: 100 });
  const database = await openFoundationDB({ source: sourceOf(fake), files: someClusterFile });
  return {
    engine: database.engine,
    createTransaction: (options) => database.createTransaction(options),
    transact: (body, options) => database.transact(body, options),
    async close() {
      await database.close();
      await underneath.close();
    },
  };
}
