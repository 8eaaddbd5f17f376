import type { Clock } from '../ports/clock.ts';
import { systemClock } from '../ports/clock.ts';

/** Where text goes: of a stream what the command uses. */
export interface TextSink {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

/** What of the process a command touches. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Results, and nothing else. */
  readonly stdout: TextSink;
  /** Progress, questions, errors. */
  readonly stderr: TextSink;
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean | undefined };
  readonly clock: Clock;
  /** Calls back once; a second signal ends the process as ever. Answers what takes it back. */
  onSignal(listener: (signal: 'SIGINT' | 'SIGTERM') => void): () => void;
}

export const systemIo: Io = {
  env: process.env,
  cwd: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  stdin: process.stdin,
  clock: systemClock,
  onSignal(listener) {
    const forget = () => {
      process.removeListener('SIGINT', hear);
      process.removeListener('SIGTERM', hear);
    };
    const hear = (signal: 'SIGINT' | 'SIGTERM') => {
      forget();
      listener(signal);
    };
    process.on('SIGINT', hear);
    process.on('SIGTERM', hear);
    return forget;
  },
};
