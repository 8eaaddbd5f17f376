import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';

export interface Options {
  /** Where the data lies. */
  readonly directory: string;
  /** Records per second; undefined: no limit. */
  readonly rate: number | undefined;
  /** Places to load; undefined: all. */
  readonly limit: number | undefined;
  readonly reset: boolean;
  readonly help: boolean;
}

/** What a person can watch: the backfill then takes about nine seconds. */
const watchableRate = 20_000;

const defaultDirectory = fileURLToPath(new URL('../../.cities', import.meta.url));

export const help = `Moves 171,075 real cities, and the countries they lie in, from version 1 to version 2 of their models.

  npm start -- [options]

  --rate <n|max>      records per second at most. Default: ${watchableRate} in a terminal, max elsewhere
  --limit <n>         load the first n places only, from 1. Default: all. Counts when loading begins
  --directory <path>  where the data lies. Default: .cities at the top of the repository
  --reset             delete the data, then start over
  --help              show this

Interrupt it at any moment, with Ctrl-C or kill -9, and start it again: it goes on where it was.`;

/** An option that cannot be understood; the message says what is allowed. */
export class OptionError extends Error {}

/** @throws OptionError */
export function parseOptions(args: readonly string[], isTerminal: boolean): Options {
  const values = parse(args);
  return {
    directory: values.directory ?? defaultDirectory,
    rate: rateOf(values.rate, isTerminal),
    limit: values.limit === undefined ? undefined : count('--limit', values.limit, 'a whole number from 1'),
    reset: values.reset ?? false,
    help: values.help ?? false,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        rate: { type: 'string' },
        limit: { type: 'string' },
        directory: { type: 'string' },
        reset: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    const [problem] = (error instanceof Error ? error.message : String(error)).split('. ');
    throw new OptionError(`${problem}. Options are --rate, --limit, --directory, --reset and --help.`, {
      cause: error,
    });
  }
}

function rateOf(given: string | undefined, isTerminal: boolean): number | undefined {
  if (given === 'max') return undefined;
  if (given !== undefined)
    return count('--rate', given, "a whole number of records per second from 1, or 'max'");
  return isTerminal ? watchableRate : undefined;
}

function count(option: string, text: string, demand: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new OptionError(`${option} must be ${demand}, not '${text}'.`);
  }
  return value;
}
