import { RequestException } from '../errors.ts';
import { CommandFailure } from './failure.ts';
import { exitCodes } from './exit-codes.ts';
import type { Io } from './io.ts';

/** What the signal aborts with. */
type Ending = 'timeout' | 'SIGINT' | 'SIGTERM';

/** Runs what may take long: the signal aborts when the time is over, or the process is told to end. */
export async function withEnd<T>(
  io: Pick<Io, 'clock' | 'onSignal'>,
  timeoutMs: number | undefined,
  work: (end: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  const abort = (ending: Ending) => end.abort(ending);
  const timer = timeoutMs === undefined ? undefined : io.clock.setTimeout(() => abort('timeout'), timeoutMs);
  const forget = io.onSignal(abort);
  try {
    return await work(end.signal);
  } finally {
    forget();
    if (timer !== undefined) io.clock.clearTimeout(timer);
  }
}

/** Why a command ends with its work undone. @param standing what that means */
export function endedBy({ reason }: AbortSignal, standing: string): CommandFailure {
  switch (reason as Ending) {
    case 'SIGINT':
      return new CommandFailure('INTERRUPTED', `Ended by SIGINT. ${standing}`, {
        exitCode: exitCodes.interrupted,
      });
    case 'SIGTERM':
      return new CommandFailure('INTERRUPTED', `Ended by SIGTERM. ${standing}`, {
        exitCode: exitCodes.terminated,
      });
    case 'timeout':
      return new CommandFailure('TIMEOUT', `The time of --timeout is over. ${standing}`);
  }
}

/** Whether a call ended because the signal did. */
export const isAborted = (error: unknown, end: AbortSignal): boolean =>
  end.aborted && (error === end.reason || (error instanceof RequestException && error.code === 'ABORTED'));
