import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TestPlace } from '../rig/test-place.ts';

export interface ChildOrder {
  readonly task: 'transfer' | 'count' | 'skew' | 'append' | 'watch';
  readonly place: TestPlace;
  readonly self: number;
  readonly rounds: number;
  readonly seed: number;
  /** Only where the place is a directory of the embedded engine. */
  readonly unsafeWithoutConflictCheck: boolean;
}

export type ChildReport =
  | { readonly type: 'ready' }
  | { readonly type: 'committed'; readonly index: number }
  | { readonly type: 'watching'; readonly round: number }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly message: string };

/** A process that has the database open and waits for `go`. */
export interface KeyValueProcess {
  readonly child: ChildProcess;
  go(): void;
  /** Resolves with the first report of that kind for which `isIt` holds; rejects when the process ends before. */
  report(type: ChildReport['type'], isIt?: (report: ChildReport) => boolean): Promise<ChildReport>;
  /** SIGKILL, and waits for its end. Fine when it has ended. */
  kill(): Promise<void>;
}

const script = fileURLToPath(new URL('./kv-child.ts', import.meta.url));

export async function startKeyValueProcess(order: ChildOrder): Promise<KeyValueProcess> {
  const child = fork(script, { execArgv: ['--import', 'tsx'] });
  const reports: ChildReport[] = [];
  const listeners = new Set<() => void>();
  let hasEnded = false;
  const tell = () => {
    for (const listener of listeners) listener();
  };
  child.on('message', (message) => {
    reports.push(message as ChildReport);
    tell();
  });
  child.on('exit', () => {
    hasEnded = true;
    tell();
  });
  const report: KeyValueProcess['report'] = (type, isIt = () => true) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = reports.find((candidate) => candidate.type === type && isIt(candidate));
        const failed = reports.find((candidate) => candidate.type === 'failed');
        if (found === undefined && failed === undefined && !hasEnded) return;
        listeners.delete(look);
        if (found !== undefined) resolve(found);
        else reject(new Error(`the process ended without '${type}': ${JSON.stringify(failed)}`));
      };
      listeners.add(look);
      look();
    });
  child.send(order);
  await report('ready');
  return {
    child,
    go: () => child.send('go'),
    report,
    kill: async () => {
      if (hasEnded) return;
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}
