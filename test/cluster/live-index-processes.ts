import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TestPlace } from '../rig/test-place.ts';

export interface PlaceOrder {
  readonly database: TestPlace;
  readonly nodeId: string;
  readonly seed: number;
  readonly release: 'older' | 'newer';
  readonly places: number;
  /** This one writes every `writers`-th place, from `writer`. */
  readonly writers: number;
  readonly writer: number;
  /** At its n-th commit that moves the ledger of the index. Default: runs until it is told. */
  readonly stopAt?: { readonly commit: number; readonly side: 'before' | 'after' } | undefined;
}

export type PlaceReport =
  | { readonly type: 'loaded' | 'serving' | 'stopped' | 'building' | 'ready' | 'done' }
  | { readonly type: 'writing'; readonly id: string }
  /** Acknowledged. Null: deleted. */
  | { readonly type: 'wrote'; readonly id: string; readonly people: number | null }
  | { readonly type: 'failed'; readonly message: string };

export interface PlaceProcess {
  readonly reports: readonly PlaceReport[];
  /** Resolves with the first of these that is reported; rejects when the process fails or ends before. */
  reported(...types: readonly PlaceReport['type'][]): Promise<PlaceReport['type']>;
  /** Lets it finish what it is at, and end. */
  tellToEnd(): void;
  /** SIGKILL, and waits for its end. Fine when it has ended. */
  kill(): Promise<void>;
}

const script = fileURLToPath(new URL('./live-index-child.ts', import.meta.url));

/** A process that has been told what to do: it serves once it reports so. */
export function startPlaceProcess(order: PlaceOrder): PlaceProcess {
  const child = fork(script, { execArgv: ['--import', 'tsx'] });
  const reports: PlaceReport[] = [];
  const listeners = new Set<() => void>();
  let hasEnded = false;
  const tell = () => {
    for (const listener of listeners) listener();
  };
  child.on('message', (message) => {
    reports.push(message as PlaceReport);
    tell();
  });
  // What was reported before the end may arrive after the exit, but not after the end of the channel.
  const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]).then(() => {
    hasEnded = true;
    tell();
  });
  const reported: PlaceProcess['reported'] = (...types) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = reports.find(({ type }) => types.includes(type));
        const failed = reports.find(({ type }) => type === 'failed');
        if (found === undefined && failed === undefined && !hasEnded) return;
        listeners.delete(look);
        if (found !== undefined) resolve(found.type);
        else reject(new Error(`${order.nodeId} ended before ${types.join()}: ${JSON.stringify(failed)}`));
      };
      listeners.add(look);
      look();
    });
  child.once('message', () => void child.send(order));
  return {
    reports,
    reported,
    tellToEnd: () => void child.send('end'),
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
