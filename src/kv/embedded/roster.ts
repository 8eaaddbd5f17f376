import { StorageException } from '../../errors.ts';
import type { ReadTransaction } from './snapshot.ts';
import { readState, writeState } from './state.ts';
import type { Tables } from './tables.ts';

/** A session as commits see it: whoever is on the list gets the log, and the bell if it watches. */
export interface RosterEntry {
  readonly id: string;
  readonly isWatching: boolean;
}

const rosterKey = 'sessions';

/** Inside the exclusive write without `transaction`. @throws StorageException STORAGE_CORRUPT */
export function readRoster({ meta }: Tables, transaction?: ReadTransaction): readonly RosterEntry[] {
  const row = transaction === undefined ? meta.get(rosterKey) : meta.get(rosterKey, { transaction });
  if (row === undefined) return [];
  try {
    return JSON.parse(row.toString()) as RosterEntry[];
  } catch (error) {
    throw new StorageException('STORAGE_CORRUPT', 'The list of sessions cannot be decoded.', {
      cause: error,
    });
  }
}

/** Inside the exclusive write. */
export function changeRoster(
  tables: Tables,
  change: (roster: readonly RosterEntry[]) => readonly RosterEntry[],
): void {
  const state = readState(tables);
  void tables.meta.put(rosterKey, Buffer.from(JSON.stringify(change(readRoster(tables)))));
  writeState(tables, { ...state, sessionsRevision: state.sessionsRevision + 1 });
}
