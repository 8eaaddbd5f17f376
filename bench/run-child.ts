import { fork } from 'node:child_process';

export interface ChildOptions {
  /** For node itself. */
  readonly execArgv?: readonly string[];
  /** Besides those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs a compiled file in a process of its own, with its task as JSON, and answers what it sends. Never with the loader
 * of this process: measured is what users run.
 */
export function runChild<Report>(file: string, task: object, options: ChildOptions = {}): Promise<Report> {
  return new Promise((resolve, reject) => {
    const child = fork(file, [JSON.stringify(task)], {
      execArgv: [...(options.execArgv ?? [])],
      env: { ...process.env, ...options.env },
    });
    let report: Report | undefined;
    child.on('message', (message) => {
      report = message as Report;
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0 && report !== undefined) resolve(report);
      else reject(new Error(`a child ended with ${code ?? signal ?? 'nothing'}: ${JSON.stringify(task)}`));
    });
  });
}

/** The other end: the task that this process was started with. */
export function readTask<Task>(): Task {
  const [argument] = process.argv.slice(2);
  if (argument === undefined) throw new Error('a child is given its task as JSON');
  return JSON.parse(argument) as Task;
}

/** The one answer of this process; null where there is nothing to say. */
export function answer(report: object | null): void {
  process.send?.(report);
  process.disconnect?.();
}
