import type { Worker } from 'node:cluster';
import cluster from 'node:cluster';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../../src/index.ts';
import { shopEvent } from './events.ts';

/** As long as a worker may take to end by itself: its own bounds, and some more. */
const retireTimeoutMs = 15_000;

/** The workers that serve, all of one release but for the time of a rolling restart. */
export interface Fleet {
  /** The release of each, by its process id. */
  readonly releases: ReadonlyMap<number, number>;
  /** Resolves with the port when it listens. @throws Error when it ends before that */
  start(release: number): Promise<number>;
  /** SIGTERM; resolves when it has ended. */
  retire(pid: number): Promise<void>;
  /** Retires all, those that do not listen yet too. Nobody is replaced any more. */
  end(): Promise<void>;
}

export function createFleet(log: Logger): Fleet {
  const releases = new Map<number, number>();
  const retired = new Set<Worker>();
  let isEnding = false;

  const start = (release: number): Promise<number> => {
    if (isEnding) return Promise.reject(new Error('the shop is closing'));
    cluster.setupPrimary({ exec: fileURLToPath(new URL(`./release-${release}.ts`, import.meta.url)) });
    const worker = cluster.fork();
    const { pid = 0 } = worker.process;
    return new Promise((resolve, reject) => {
      worker.once('listening', ({ port }) => {
        releases.set(pid, release);
        log.info({ event: shopEvent.live, worker: pid, release });
        resolve(port);
      });
      worker.once('exit', (code: number | null, signal: string | null) => {
        const wasLive = releases.delete(pid);
        log.info({ event: shopEvent.ended, worker: pid, release, code, signal });
        reject(new Error(`a worker of release ${release} ended before it was live`));
        // One that dies is replaced; one that never lived is not, or it would go on for ever.
        if (wasLive && !retired.has(worker) && !isEnding) {
          start(release).catch((error: unknown) => log.error({ err: error }, 'a worker is missing'));
        }
      });
    });
  };

  const retireWorker = async (worker: Worker): Promise<void> => {
    retired.add(worker);
    const { exitCode, signalCode } = worker.process;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    worker.process.kill('SIGTERM');
    const timer = setTimeout(() => worker.process.kill('SIGKILL'), retireTimeoutMs);
    await ended;
    clearTimeout(timer);
  };
  const workers = () => Object.values(cluster.workers ?? {}).filter((worker) => worker !== undefined);

  return {
    releases,
    start,
    async retire(pid) {
      await Promise.all(
        workers()
          .filter(({ process }) => process.pid === pid)
          .map(retireWorker),
      );
    },
    async end() {
      isEnding = true;
      await Promise.all(workers().map(retireWorker));
    },
  };
}
