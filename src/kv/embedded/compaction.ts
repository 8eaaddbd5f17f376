import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { StorageException } from '../../errors.ts';
import { readState } from './state.ts';
import { openTables, type Tables } from './tables.ts';

/** LMDB's own names. */
const dataFile = 'data.mdb';
const lockFile = 'lock.mdb';

/** Where the copy grows. Whatever is in here belongs to a compaction that runs, or to one that was killed. */
const folderOf = (directory: string): string => join(directory, 'compaction');

export function dataBytes(directory: string): number {
  return statSync(join(directory, dataFile)).size;
}

/** What a killed compaction left. To be called while no other session may compact. */
export function removeUnfinishedCopy(directory: string): void {
  rmSync(folderOf(directory), { recursive: true, force: true });
}

/**
 * Tables with the same contents in a file of their own, without the free pages, on the disk and opened. Nobody may
 * write to `tables` from the call until the copy is taken in.
 */
export async function copyTables(tables: Tables, directory: string): Promise<Tables> {
  const folder = folderOf(directory);
  removeUnfinishedCopy(directory);
  mkdirSync(folder);
  await tables.environment.backup(folder, true);
  const file = await open(join(folder, dataFile), 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
  const copy = await openTables(folder);
  if (readState(copy).version === readState(tables).version) return copy;
  await copy.environment.close();
  throw new StorageException('STORAGE_CORRUPT', 'The copy of the files is not what was copied.');
}

/**
 * Lets `tables` stand for the copy from now on, in this process and for those who open the directory later. Answers
 * what was open before, for the caller to close.
 *
 * All happens in one turn. The renaming of the data is the moment: before it the old file is there, after it the new
 * one, and both are whole. The lock file says nothing to whoever opens a directory that nobody has open; this process
 * has the copy's own one open, so that one has to come along.
 */
export function takeInCopy(tables: Tables, copy: Tables, directory: string): RootDatabase {
  const folder = folderOf(directory);
  const lockBefore = join(folder, 'lock.before');
  linkSync(join(directory, lockFile), lockBefore);
  renameSync(join(folder, lockFile), join(directory, lockFile));
  try {
    renameSync(join(folder, dataFile), join(directory, dataFile));
  } catch (error) {
    renameSync(lockBefore, join(directory, lockFile));
    throw error;
  }
  const { environment, path } = tables;
  Object.assign(tables, { ...copy, path });
  return environment;
}

/** Without it a power loss may bring the old file back, which would be without the commits that follow. */
export function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
