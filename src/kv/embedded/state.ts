import { StorageException } from '../../errors.ts';
import type { ReadTransaction } from './snapshot.ts';
import type { Tables } from './tables.ts';

/** What every commit reads and writes: one row. */
export interface EngineState {
  /** Version of the last commit. */
  readonly version: number;
  /** The log has every commit after this version; what lies before may be missing. */
  readonly logCompleteAfter: number;
  /** Grows with every change of the list of sessions. */
  readonly sessionsRevision: number;
  /** Requests that were committed so far, of all processes. */
  readonly requestCommits: number;
}

const stateKey = 'state';
const stateBytes = 32;
/** Before commits were counted. */
const shortStateBytes = 24;
const emptyState: EngineState = { version: 0, logCompleteAfter: 0, sessionsRevision: 0, requestCommits: 0 };

/** Inside the exclusive write without `transaction`. @throws StorageException STORAGE_CORRUPT */
export function readState({ meta }: Tables, transaction?: ReadTransaction): EngineState {
  const row = transaction === undefined ? meta.get(stateKey) : meta.get(stateKey, { transaction });
  if (row === undefined) return emptyState;
  if (row.length !== stateBytes && row.length !== shortStateBytes) {
    throw new StorageException('STORAGE_CORRUPT', 'The state row of the embedded engine cannot be decoded.');
  }
  return {
    version: row.readDoubleBE(0),
    logCompleteAfter: row.readDoubleBE(8),
    sessionsRevision: row.readDoubleBE(16),
    requestCommits: row.length === stateBytes ? row.readDoubleBE(24) : 0,
  };
}

export function writeState({ meta }: Tables, state: EngineState): void {
  const row = Buffer.alloc(stateBytes);
  row.writeDoubleBE(state.version, 0);
  row.writeDoubleBE(state.logCompleteAfter, 8);
  row.writeDoubleBE(state.sessionsRevision, 16);
  row.writeDoubleBE(state.requestCommits, 24);
  void meta.put(stateKey, row);
}
