import type { RequestMeter } from '../../ports/request-meter.ts';
import type { ChunkControl } from './controller.ts';
import { gentleRecords } from './controller.ts';

/** How fast a process migrates while requests come in. */
export type MigrationPace = 'gentle' | 'fast';

/**
 * How the movers of a process leave room for requests, for as long as some come in. What a request waits for is the chunk
 * that is being written: in the same process for the main thread, and on the embedded engine in any other one for the
 * writer's lock. So chunks are small then, and one is written at a time. Where nobody asks, nothing waits.
 */
export interface GiveWay {
  /** How many records the next chunk may have. */
  records(control: ChunkControl): number;
  /** Runs the transaction that writes a chunk. */
  write<T>(commit: () => Promise<T>): Promise<T>;
}

export function createGiveWay(pace: MigrationPace, requests: Pick<RequestMeter, 'areComing'>): GiveWay {
  let lastWritten: Promise<unknown> = Promise.resolve();
  const isNeeded = () => pace === 'gentle' && requests.areComing();
  return {
    records: (control) => (isNeeded() ? gentleRecords(control) : control.records),
    write(commit) {
      if (!isNeeded()) return commit();
      const written = lastWritten.then(commit);
      lastWritten = written.catch(() => undefined);
      return written;
    },
  };
}
