import { existsSync } from 'node:fs';
import { StorageException } from '../../errors.ts';

/** Where cluster files are looked for; tests bring their own. */
export interface ClusterFiles {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly platform: string;
  exists(path: string): boolean;
}

const installedFiles: ClusterFiles = {
  environment: process.env,
  platform: process.platform,
  exists: existsSync,
};

/** Beside the program, before the system's own. */
const localFile = 'fdb.cluster';

/**
 * The file that the client would take, in its own order: the one that is named, FDB_CLUSTER_FILE, `fdb.cluster` in the
 * working directory, the system's. Looked for here because the client waits for ever for a cluster that nobody named.
 *
 * @throws StorageException CLUSTER_FILE_MISSING
 */
export function findClusterFile(named: string | undefined, files: ClusterFiles = installedFiles): string {
  if (named !== undefined) {
    if (files.exists(named)) return named;
    throw missing(`There is no cluster file ${named}.`, [named]);
  }
  const fromEnvironment = files.environment['FDB_CLUSTER_FILE'] ?? '';
  if (fromEnvironment !== '') {
    if (files.exists(fromEnvironment)) return fromEnvironment;
    throw missing(`There is no cluster file ${fromEnvironment}, which FDB_CLUSTER_FILE names.`, [
      fromEnvironment,
    ]);
  }
  const places = [localFile, systemFile(files.platform)];
  const found = places.find((path) => files.exists(path));
  if (found !== undefined) return found;
  throw missing(
    `There is no cluster file: FDB_CLUSTER_FILE is not set, and neither ${places.join(' nor ')} is there. ` +
      "Name one with 'fdb:<cluster file>' or FDB_CLUSTER_FILE.",
    places,
  );
}

function systemFile(platform: string): string {
  switch (platform) {
    case 'darwin':
      return '/usr/local/etc/foundationdb/fdb.cluster';
    case 'win32':
      return 'C:\\ProgramData\\foundationdb\\fdb.cluster';
    default:
      return '/etc/foundationdb/fdb.cluster';
  }
}

function missing(message: string, places: readonly string[]): StorageException {
  return new StorageException('CLUSTER_FILE_MISSING', message, { details: { places } });
}
