import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ShopEvent } from './events.ts';
import { parseShopEvent } from './events.ts';
import type { Settings } from './settings.ts';
import { environmentOf } from './settings.ts';

/** The shop as whoever runs it has it: a process that logs, and takes signals. */
export interface ShopProcess {
  readonly child: ChildProcess;
  /** What it has told so far. */
  readonly events: readonly ShopEvent[];
  /** Resolves with the first event of that kind; rejects when it ends without one. */
  told(kind: ShopEvent['event']): Promise<ShopEvent>;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** @param onEvent is told of each event as it comes */
export function startShop(
  settings: Settings,
  onEvent: (event: ShopEvent) => void = () => undefined,
): ShopProcess {
  const child = fork(fileURLToPath(new URL('./primary.ts', import.meta.url)), {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, ...environmentOf(settings) },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  const events: ShopEvent[] = [];
  const errors: string[] = [];
  const waiting = new Set<() => void>();
  let isOver = false;
  const wake = () => {
    for (const look of waiting) look();
  };
  const lines = createInterface({ input: child.stdout ?? Readable.from([]) });
  lines.on('line', (line) => {
    const event = parseShopEvent(line);
    if (event === undefined) {
      if (line.includes('"err"')) errors.push(line);
      return;
    }
    events.push(event);
    onEvent(event);
    wake();
  });
  const exited = new Promise<Awaited<ShopProcess['ended']>>((resolve) => {
    child.on('exit', (code, signal) => resolve({ code, signal }));
  });
  // What was logged last may come after the exit.
  const ended = Promise.all([exited, once(lines, 'close')]).then(([how]) => {
    isOver = true;
    wake();
    return how;
  });
  return {
    child,
    events,
    told: (kind) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = events.find(({ event }) => event === kind);
          if (found === undefined && !isOver) return;
          waiting.delete(look);
          if (found !== undefined) resolve(found);
          else reject(new Error(`the shop ended before it was ${kind}:\n${errors.join('\n')}`));
        };
        waiting.add(look);
        look();
      }),
    ended,
  };
}
