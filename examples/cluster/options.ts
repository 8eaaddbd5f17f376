import { parseArgs } from 'node:util';

export interface Options {
  readonly workers: number;
  readonly records: number;
  /** Records per second that are moved. */
  readonly rate: number;
  readonly help: boolean;
}

const defaults = { workers: 3, records: 6_000, rate: 2_000 } as const;

export const help = `A shop under node:cluster goes from release 1 to release 2, with a migration, while it is open.

  npm run example:cluster -- [options]

  --workers <n>   worker processes, 1 to 16. Default: ${defaults.workers}
  --records <n>   products in the shop, 1 to 1000000. Default: ${defaults.records}
  --rate <n>      records per second that are moved at most, so that there is something to see. Default: ${defaults.rate}
  --help          show this

It needs a nats-server, on the PATH or named by NATS_SERVER_BIN.`;

/** An option that cannot be understood; the message says what is allowed. */
export class OptionError extends Error {}

/** @throws OptionError */
export function parseOptions(args: readonly string[]): Options {
  const values = parse(args);
  return {
    workers: count('--workers', values.workers, defaults.workers, 16),
    records: count('--records', values.records, defaults.records, 1_000_000),
    rate: count('--rate', values.rate, defaults.rate, 1_000_000),
    help: values.help ?? false,
  };
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...args],
      options: { workers: text, records: text, rate: text, help: { type: 'boolean' } },
    }).values;
  } catch (error) {
    const [problem] = (error instanceof Error ? error.message : String(error)).split('. ');
    throw new OptionError(`${problem}. Options are --workers, --records, --rate and --help.`, {
      cause: error,
    });
  }
}

function count(option: string, text: string | undefined, otherwise: number, max: number): number {
  if (text === undefined) return otherwise;
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > max) {
    throw new OptionError(`${option} must be a whole number from 1 to ${max}, not '${text}'.`);
  }
  return value;
}
