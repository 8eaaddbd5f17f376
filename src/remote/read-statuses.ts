import type { BusRequestOptions } from '../cluster/bus.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep, systemClock } from '../ports/clock.ts';
import type { MigrationRead } from './follow-migrations.ts';
import type { ControlReply } from './replies.ts';

/** Asks nodes for the present status of models until they have answered. */
export interface StatusReader {
  read(modelId: number): void;
  readAll(): void;
}

export interface StatusReaderOptions {
  /** @param about the id of a model, or `all` */
  readonly ask: (about: string, options: BusRequestOptions) => Promise<ControlReply>;
  /** Undefined: those that the store has. */
  readonly models: readonly number[] | undefined;
  readonly signal: AbortSignal;
  readonly onStatus: (read: Omit<MigrationRead, 'type'>) => void;
  /** The node that was asked has heard of another database whose stores have this name. */
  readonly onAmbiguous: (databaseId: string) => void;
  readonly clock?: Clock | undefined;
}

/** How long one answer is waited for, milliseconds. */
const answerMs = 2_000;
/** Between two tries where nobody answers, milliseconds: doubled from the first to the second. */
const pauses = { first: 250, longest: 30_000 } as const;
/** Side by side. */
const atOnce = 8;

export function readStatuses(options: StatusReaderOptions): StatusReader {
  const { models, signal, onStatus, onAmbiguous, clock = systemClock } = options;
  const wanted = new Set<number>();
  let isListWanted = false;
  let isReading = false;

  const ask = async (about: string): Promise<ControlReply | undefined> => {
    try {
      const reply = await options.ask(about, { timeoutMs: answerMs, signal });
      if (reply.code === 'STORE_AMBIGUOUS') onAmbiguous(reply.databaseId);
      return reply.retryable === true ? undefined : reply;
    } catch {
      // Nobody is there, or may be asked: there will be another try.
      return undefined;
    }
  };

  const readList = async (): Promise<boolean> => {
    const reply = models === undefined ? await ask('all') : undefined;
    if (models === undefined && reply === undefined) return false;
    isListWanted = false;
    for (const modelId of models ?? reply?.models?.map(({ modelId: id }) => id) ?? []) wanted.add(modelId);
    return true;
  };

  const readOne = async (modelId: number): Promise<boolean> => {
    wanted.delete(modelId);
    const reply = await ask(String(modelId));
    if (reply === undefined) {
      wanted.add(modelId);
      return false;
    }
    const { databaseId, nodeId, version, status } = reply;
    if (version !== undefined && status !== undefined) {
      onStatus({ databaseId, nodeId, modelId, version, status });
    }
    return true;
  };

  const round = async (): Promise<boolean> => {
    if (isListWanted && !(await readList())) return false;
    const answered = await Promise.all([...wanted].slice(0, atOnce).map(readOne));
    return answered.every(Boolean);
  };

  const readUntilDone = async (): Promise<void> => {
    if (isReading) return;
    isReading = true;
    let pauseMs: number = pauses.first;
    while (!signal.aborted && (isListWanted || wanted.size > 0)) {
      if (await round()) {
        pauseMs = pauses.first;
        continue;
      }
      await sleep(clock, pauseMs, signal);
      pauseMs = Math.min(2 * pauseMs, pauses.longest);
    }
    isReading = false;
  };

  return {
    read(modelId) {
      wanted.add(modelId);
      void readUntilDone();
    },
    readAll() {
      isListWanted = true;
      void readUntilDone();
    },
  };
}
