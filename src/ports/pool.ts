import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type * as PiscinaModule from 'piscina';
import type { Piscina } from 'piscina';
import { limits } from '../limits.ts';

/**
 * Worker threads. The only file that imports Piscina. Tasks and answers are data of the worker's own making; answers
 * say themselves what went wrong, because an error loses its class, name and code on its way between threads.
 */
export interface WorkerPool<Task = unknown, Answer = unknown> {
  /**
   * Runs a task on a thread, as soon as one is free. Threads start with the first task.
   *
   * @param transfer buffers of the task that are handed over: they are empty here afterwards
   * @throws WorkerCrashed, WorkerPoolClosed
   */
  run(task: Task, transfer?: readonly ArrayBuffer[]): Promise<Answer>;
  /** Threads that are there now. */
  readonly threads: number;
  /** Threads that there may be. A pool of the host's own may leave it out. */
  readonly maxThreads?: number | undefined;
  /** Tasks that were answered so far. */
  readonly completed: number;
  /** Tasks that wait for a thread now. */
  readonly queued?: number | undefined;
  /** Part of the threads that there may be which has a task now, 0 to 1. */
  readonly utilization?: number | undefined;
  /** Refuses new tasks, gives running ones 5,000 ms, and ends all threads. Twice is fine. */
  close(): Promise<void>;
}

export interface WorkerPoolOptions {
  /** Threads at most, 1 to 64. Default: one for each processor, at most 8: one main thread commits what they make. */
  readonly maxThreads?: number | undefined;
  /**
   * After this long on its thread a task counts as hanging, and its thread is ended. Milliseconds, default 60,000;
   * far above what a chunk may take, because a thread has to be started and a module loaded within it.
   */
  readonly taskTimeoutMs?: number | undefined;
}

/** A thread ended, or was ended, while it had a task. Another thread takes its place. */
export class WorkerCrashed extends Error {
  /** `exited`: by itself, out of memory for one. `timedOut`: ended because the task took too long. */
  readonly reason: 'exited' | 'timedOut';

  constructor(reason: WorkerCrashed['reason'], message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'WorkerCrashed';
    this.reason = reason;
  }
}

/** The pool was closed before the task was answered. */
export class WorkerPoolClosed extends Error {
  constructor() {
    super('the worker pool is closed');
    this.name = 'WorkerPoolClosed';
  }
}

/** Threads by default; source: the main thread decodes and commits about as much as this many can prepare. */
const defaultMaxThreads = 8;
const highestMaxThreads = limits.pool.threads.value;
const defaultTaskTimeoutMs = 60_000;
/** A thread without work is kept this long: starting one costs more than a chunk. */
const idleTimeoutMs = 10_000;
/** What `close` grants to tasks that are running: the hard limit of a chunk (4 s) and some. */
const closeTimeoutMs = 5_000;
const require = createRequire(import.meta.url);
/** Loaded with the first task: many processes never have one. */
const threads = () => require('piscina') as typeof PiscinaModule;

/** Tasks that wait for a thread. */
const maxWaitingTasks = limits.pool.waitingTasks.value;

export function createWorkerPool<Task, Answer>(options: WorkerPoolOptions = {}): WorkerPool<Task, Answer> {
  const { maxThreads = Math.min(availableParallelism(), defaultMaxThreads) } = options;
  if (!Number.isInteger(maxThreads) || maxThreads < 1 || maxThreads > highestMaxThreads) {
    throw new RangeError(`maxThreads must be an integer from 1 to ${highestMaxThreads}`);
  }
  return new PiscinaPool(maxThreads, options.taskTimeoutMs ?? defaultTaskTimeoutMs);
}

class PiscinaPool<Task, Answer> implements WorkerPool<Task, Answer> {
  readonly #maxThreads: number;
  readonly #taskTimeoutMs: number;
  readonly #running = new Map<AbortController, Promise<unknown>>();
  readonly #waiting: { start(): void; refuse(): void }[] = [];
  #piscina: Piscina | undefined;
  /** Threads that are spoken for. */
  #busy = 0;
  #completed = 0;
  #closing: Promise<void> | undefined;

  constructor(maxThreads: number, taskTimeoutMs: number) {
    this.#maxThreads = maxThreads;
    this.#taskTimeoutMs = taskTimeoutMs;
  }

  get threads(): number {
    return this.#piscina?.threads.length ?? 0;
  }

  get maxThreads(): number {
    return this.#maxThreads;
  }

  get completed(): number {
    return this.#completed;
  }

  get queued(): number {
    return this.#waiting.length;
  }

  get utilization(): number {
    return this.#busy / this.#maxThreads;
  }

  async run(task: Task, transfer: readonly ArrayBuffer[] = []): Promise<Answer> {
    if (this.#closing !== undefined) throw new WorkerPoolClosed();
    if (this.#busy < this.#maxThreads) this.#busy += 1;
    else await this.#turn();
    const controller = new AbortController();
    try {
      const answer = this.#runNow(task, transfer, controller);
      this.#running.set(controller, answer);
      return await answer;
    } finally {
      this.#running.delete(controller);
      // The next in line takes over the thread: nobody who comes now may be faster.
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy -= 1;
      else next.start();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  /** Tasks queue here and not in Piscina, so that a task's time begins when it has a thread. */
  #turn(): Promise<void> {
    if (this.#waiting.length >= maxWaitingTasks) {
      throw new Error(`more than ${maxWaitingTasks} tasks wait for a worker thread`);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        start: resolve,
        refuse: () => {
          reject(new WorkerPoolClosed());
        },
      });
    });
  }

  async #runNow(task: Task, transfer: readonly ArrayBuffer[], controller: AbortController): Promise<Answer> {
    const timer = setTimeout(() => {
      controller.abort(
        new WorkerCrashed('timedOut', `a worker thread did not answer within ${this.#taskTimeoutMs} ms`),
      );
    }, this.#taskTimeoutMs);
    // What keeps the process alive is the thread that has the task.
    timer.unref();
    try {
      if (this.#closing !== undefined) throw new WorkerPoolClosed();
      const answer: Answer = await this.#threads().run(task, {
        transferList: [...transfer],
        signal: controller.signal,
      });
      this.#completed += 1;
      return answer;
    } catch (error) {
      // The worker answers what goes wrong in it: what arrives as an error is a thread that ended.
      if (controller.signal.reason instanceof WorkerCrashed) throw controller.signal.reason;
      if (this.#closing !== undefined) throw new WorkerPoolClosed();
      // Nothing ran: the task cannot cross to a thread.
      if (error instanceof DOMException && error.name === 'DataCloneError') throw error;
      const text = error instanceof Error ? error.message : 'unknown';
      throw new WorkerCrashed('exited', `a worker thread ended while it had a task: ${text}`, error);
    } finally {
      clearTimeout(timer);
    }
  }

  #threads(): Piscina {
    this.#piscina ??= this.#start();
    return this.#piscina;
  }

  #start(): Piscina {
    const piscina = new (threads().Piscina)({
      ...workerFile(),
      minThreads: 0,
      maxThreads: this.#maxThreads,
      // Tasks that wait for a thread to start; the others wait in this class.
      maxQueue: this.#maxThreads,
      idleTimeout: idleTimeoutMs,
      closeTimeout: closeTimeoutMs,
      // Wakes a thread through shared memory and leaves its event loop free: a module may have timers of its own.
      atomics: 'async',
      recordTiming: false,
    });
    let ready = false;
    piscina.once('workerCreate', () => {
      ready = true;
    });
    // Without a task to blame: a thread that could not start, or one that fell ill after its answer. The first would
    // leave every task waiting for a thread that never comes; the second is replaced when there is a next task.
    piscina.on('error', (error: Error) => {
      if (ready) return;
      const crashed = new WorkerCrashed(
        'exited',
        `no worker thread could be started: ${error.message}`,
        error,
      );
      for (const controller of this.#running.keys()) controller.abort(crashed);
    });
    return piscina;
  }

  async #end(): Promise<void> {
    for (const waiting of this.#waiting.splice(0)) waiting.refuse();
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, closeTimeoutMs);
    });
    await Promise.race([Promise.allSettled(this.#running.values()), tooLate]);
    clearTimeout(timer);
    await this.#piscina?.destroy();
  }
}

/** The worker lies in the same place of the source tree and of the package. From source, threads need tsx as we do. */
function workerFile(): { filename: string; execArgv?: string[] } {
  const fromSource = import.meta.url.endsWith('.ts');
  const file = new URL(`../../workers/transform.${fromSource ? 'ts' : 'js'}`, import.meta.url);
  const filename = fileURLToPath(file);
  if (!fromSource) return { filename };
  // `--import tsx` registers on the main thread alone (Node 20), which may run under another loader: vitest's, say.
  const tsx = require.resolve('tsx/package.json');
  const loader = new URL('dist/esm/api/index.mjs', pathToFileURL(tsx)).href;
  const register = `import { register } from ${JSON.stringify(loader)}; register();`;
  return { filename, execArgv: ['--import', `data:text/javascript,${encodeURIComponent(register)}`] };
}
