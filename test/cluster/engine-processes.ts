import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** What a process of the tests on the engine's care does with a directory. */
export type EngineOrder =
  /** Compacts once, and kills itself before that call of the file system; reports `done` when it was not reached. */
  | { readonly task: 'compact'; readonly directory: string; readonly dieBefore: number }
  /** Writes and compacts in turns until it is killed. */
  | { readonly task: 'compactForever'; readonly directory: string }
  /** Opens so many snapshots, each of another version, and holds them. */
  | { readonly task: 'hold'; readonly directory: string; readonly snapshots: number }
  /** Small commits, as many as go, until it is told to stop. */
  | {
      readonly task: 'load';
      readonly directory: string;
      readonly self: number;
      /** Whether its commits are requests. Default false. */
      readonly isRequest?: boolean;
    }
  /** Writes, overwrites, clears, reads and scans, until it is told to stop. */
  | { readonly task: 'mixed'; readonly directory: string; readonly self: number; readonly seed: number };

export type EngineReport =
  | { readonly type: 'ready' }
  | { readonly type: 'committed'; readonly count: number }
  | { readonly type: 'compacted' }
  | { readonly type: 'holding' }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly message: string };

export interface EngineProcess {
  readonly child: ChildProcess;
  /** The newest count of commits that the process was told of as durable. */
  readonly committed: number;
  /** Resolves with the first report of that kind from now on; rejects when the process fails or ends before. */
  next(type: EngineReport['type']): Promise<EngineReport>;
  /** Tells it to come to an end, and waits for its last report. */
  stop(): Promise<void>;
  /** Waits for its end. Answers the signal, if one ended it. */
  exited(): Promise<NodeJS.Signals | null>;
  /** SIGKILL, and waits for its end. Fine when it has ended. */
  kill(): Promise<void>;
}

const script = fileURLToPath(new URL('./engine-child.ts', import.meta.url));

/** Resolves when the process has the directory open. */
export async function startEngineProcess(order: EngineOrder): Promise<EngineProcess> {
  const child = fork(script, { execArgv: ['--import', 'tsx'] });
  const exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  let committed = 0;
  let failure: string | undefined;
  child.on('message', (report: EngineReport) => {
    if (report.type === 'committed') committed = report.count;
    if (report.type === 'failed') failure = report.message;
  });
  const next: EngineProcess['next'] = (type) =>
    new Promise((resolve, reject) => {
      const listen = (report: EngineReport) => {
        if (report.type !== type && report.type !== 'failed') return;
        child.off('message', listen);
        if (report.type === type) resolve(report);
        else reject(new Error(JSON.stringify(report)));
      };
      child.on('message', listen);
      void exit.then(([code, signal]) =>
        reject(new Error(`the process ended (${signal ?? code}) without '${type}': ${failure ?? ''}`)),
      );
    });
  const ready = next('ready');
  child.send(order);
  await ready;
  return {
    child,
    get committed() {
      return committed;
    },
    next,
    stop: async () => {
      const done = next('done');
      child.send('stop');
      await done;
      await exit;
    },
    exited: async () => (await exit)[1],
    kill: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}
