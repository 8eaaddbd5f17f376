import { statSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../ports/clock.ts';
import { systemRandom } from '../../ports/random.ts';
import { createEngineDatabase } from '../engine/database.ts';
import type { KeyValueDatabase } from '../kv.ts';
import { refuseDamaged } from './data-file.ts';
import { directoryError, isPrepared } from './directory.ts';
import type { EmbeddedDatabaseOptions } from './open.ts';
import { ReadingEngine } from './reading-engine.ts';
import { Sessions } from './sessions.ts';
import { openTables, type Tables } from './tables.ts';

/**
 * Opens a directory to read what is in it. The file of data stays as it is to the byte: this session is on no list of
 * those that commits are logged for. What changes are the file of readers, `lock.mdb`, and for as long as it is open the
 * folder `sessions`, which tells others not to compact. Undefined where nothing was ever written; nothing is made then.
 *
 * @throws StorageException ENGINE_DIRECTORY_INVALID, ENGINE_SHARED_UNSAFELY, ENGINE_BUSY, STORAGE_FORMAT_NEWER
 */
export async function openEmbeddedToRead(
  options: Pick<EmbeddedDatabaseOptions, 'directory' | 'clock' | 'random'>,
): Promise<KeyValueDatabase | undefined> {
  const { directory, clock = systemClock, random = systemRandom } = options;
  if (!isPrepared(directory) || !hasData(directory)) return undefined;
  const sessions = await Sessions.open(directory, systemRandom.id());
  let tables: Tables | undefined;
  try {
    refuseDamaged(directory, () => sessions.isAlone);
    // Not as LMDB's read-only kind: whoever opens the same directory in this process shares what is opened here.
    tables = await openTables(directory, { create: false });
    return createEngineDatabase(new ReadingEngine({ clock, random, tables, sessions }));
  } catch (error) {
    await tables?.environment.close();
    sessions.close();
    throw directoryError(directory, error);
  }
}

/** LMDB would write its first pages into a file that is missing or empty. */
function hasData(directory: string): boolean {
  return (statSync(join(directory, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0) > 0;
}
