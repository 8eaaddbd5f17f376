import type { RequestMeter } from '../request-meter.ts';
import type { ChunkControl } from './controller.ts';
import { gentleRecords } from './controller.ts';

/** How fast a process migrates while requests come in. */
export type MigrationPace = 'gentle' | 'fast';

/**
 * How the movers of a process leave room for requests, for as long as some come in. What a request waits for is the chunk
 * that is being written: in the same process for the main thread, so chunks are small then; and on the embedded engine in
 * every process for the writer's lock, so there one is written at a time. Where nobody asks, nothing waits.
 */
export interface GiveWay {
  /** How many records the next chunk may have. */
  records(control: ChunkControl): number;
  /** Runs the transaction that writes a chunk. */
  write<T>(commit: () => Promise<T>): Promise<T>;
}

/** @param hasOneWriter whether those who write wait for each other, and small commits would queue behind each other */
export function createGiveWay(
  pace: MigrationPace,
  requests: Pick<RequestMeter, 'areComing'>,
  { hasOneWriter }: { readonly hasOneWriter: boolean },
): GiveWay {
  let lastWritten: Promise<unknown> = Promise.resolve();
  const isNeeded = () => pace === 'gentle' && requests.areComing();
  return {
    records: (control) => (isNeeded() ? gentleRecords(control) : control.records),
    write(commit) {
      if (!hasOneWriter || !isNeeded()) return commit();
      const written = lastWritten.then(commit);
      lastWritten = written.catch(() => undefined);
      return written;
    },
  };
}
