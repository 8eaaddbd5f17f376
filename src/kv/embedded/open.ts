import { systemClock, type Clock } from '../../ports/clock.ts';
import { systemRandom, type Random } from '../../ports/random.ts';
import { createEngineDatabase } from '../engine/database.ts';
import type { KeyValueDatabase } from '../kv.ts';
import { Bell } from './bell.ts';
import { removeUnfinishedCopy } from './compaction.ts';
import { refuseDamaged } from './data-file.ts';
import { directoryError, prepareDirectory, requireDirectory } from './directory.ts';
import { EmbeddedEngine } from './engine.ts';
import { Sessions } from './sessions.ts';
import { openTables, type Tables } from './tables.ts';

export interface EmbeddedDatabaseOptions {
  /** Made if missing. On a local disk; shared by processes of one machine that see each other's pids. */
  readonly directory: string;
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
  /** Default: the system's. */
  readonly random?: Random | undefined;
  /** Whether a directory that is new, or empty, is made one of this engine. Default true. */
  readonly create?: boolean | undefined;
  /** For tests only: commits without looking for conflicts, which breaks every invariant. Default false. */
  readonly unsafeWithoutConflictCheck?: boolean | undefined;
}

/**
 * Opens a directory as a database with FoundationDB's semantics: durable when a commit resolves, shared by several
 * processes of one machine, no server. To be used on the main thread: LMDB does not survive `worker.terminate()`.
 *
 * @throws StorageException ENGINE_DIRECTORY_INVALID, ENGINE_SHARED_UNSAFELY, ENGINE_BUSY, STORAGE_FORMAT_NEWER, STORAGE_CORRUPT;
 *   STORE_MISSING without `create`
 */
export async function openEmbeddedDatabase(options: EmbeddedDatabaseOptions): Promise<KeyValueDatabase> {
  const { directory, clock = systemClock, random = systemRandom } = options;
  const sessionId = systemRandom.id();
  if (options.create === false) requireDirectory(directory);
  prepareDirectory(directory, sessionId);
  const sessions = await Sessions.open(directory, sessionId);
  let tables: Tables | undefined;
  let bell: Bell | undefined;
  try {
    refuseDamaged(directory, () => sessions.isAlone);
    removeUnfinishedCopy(directory);
    tables = await openTables(directory);
    bell = new Bell(directory, clock);
    const engine = new EmbeddedEngine({
      clock,
      random,
      tables,
      sessions,
      bell,
      unsafeWithoutConflictCheck: options.unsafeWithoutConflictCheck ?? false,
    });
    await engine.start();
    return createEngineDatabase(engine);
  } catch (error) {
    bell?.close();
    await tables?.environment.close();
    sessions.close();
    throw directoryError(directory, error);
  }
}
