import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import type { Subspace } from '../records/keys.ts';

/** What every command knows. */
export interface CommonFlags {
  readonly json?: boolean | undefined;
  readonly color: boolean;
}

export interface DatabaseFlags extends CommonFlags {
  readonly database?: string | undefined;
  readonly subspace?: Subspace | undefined;
}

/** Of what a program would do. */
export interface ModelsFlags extends DatabaseFlags {
  readonly models?: string | undefined;
}

/** By the database, or through the nodes of a store. */
export interface PlaceFlags extends DatabaseFlags {
  readonly nats?: string | undefined;
  readonly store?: string | undefined;
  readonly prefix?: string | undefined;
  readonly databaseId?: string | undefined;
  /** The nodes were named on the command line, and the database in the environment alone. */
  readonly asksNodes?: boolean | undefined;
}

/** Of what changes something. */
export interface CallFlags {
  readonly by?: string | undefined;
  readonly reason?: string | undefined;
}

export interface ConfirmFlags {
  readonly yes?: boolean | undefined;
}

export interface TimeoutFlags {
  /** Milliseconds. */
  readonly timeout?: number | undefined;
}

export function addCommonFlags(command: Command): Command {
  return command
    .option('--json', 'results, and errors too, as JSON on stdout')
    .option('--no-color', 'no colours, as NO_COLOR in the environment');
}

export function addDatabaseFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--database <address>', "'embedded:<directory>', 'fdb:' or 'fdb:<cluster file>'").env(
        'GODWIT_DATABASE',
      ),
    )
    .addOption(
      new Option('--subspace <elements>', "the store's subspace: 'app/1' is ['app', 1]; or a JSON array")
        .env('GODWIT_SUBSPACE')
        .argParser(parseSubspace),
    );
}

export function addModelsFlag(command: Command): Command {
  return command.addOption(
    new Option(
      '--models <module>',
      'its default export is an object of store options, or a function that answers one',
    ).env('GODWIT_MODELS'),
  );
}

const busFlags = (): readonly Option[] => [
  new Option('--nats <servers>', "'nats://host:port', several parted by commas: asks the nodes").env(
    'GODWIT_NATS',
  ),
  new Option('--store <name>', 'storeName of the nodes, for --nats').env('GODWIT_STORE'),
  new Option('--prefix <prefix>', 'subjectPrefix of the nodes, for --nats (default: godwit)').env(
    'GODWIT_PREFIX',
  ),
  new Option('--database-id <id>', 'for --nats, where stores of several databases have the name').env(
    'GODWIT_DATABASE_ID',
  ),
];

export function addBusFlags(command: Command): Command {
  for (const flag of busFlags()) command.addOption(flag);
  return command;
}

/** For what only the database tells: who passes the flags all the same is told so. */
export function addDatabaseOnlyFlags(command: Command): Command {
  addDatabaseFlags(command);
  for (const flag of busFlags()) command.addOption(flag.hideHelp());
  return command;
}

export function addCallFlags(command: Command): Command {
  return command
    .addOption(new Option('--by <name>', 'who asks; kept in the audit (default: user@host)').env('GODWIT_BY'))
    .option('--reason <text>', 'why; kept in the audit');
}

export function addYesFlag(command: Command): Command {
  return command.option('--yes', 'does not ask; needed where there is no terminal');
}

export function addTimeoutFlag(command: Command, what: string): Command {
  return command.addOption(
    new Option('--timeout <duration>', `${what}: 500ms, 90s, 10m, 1h`).argParser(parseDuration),
  );
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** In milliseconds. Numbers need their unit. */
export function parseDuration(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const ms = Number(number) * (unitMs[unit] ?? Number.NaN);
  if (number !== '' && ms >= 1 && ms <= longestTimerMs) return ms;
  throw new InvalidArgumentError(
    'It has to be a number with a unit: 500ms, 90s, 10m or 1h; 24 days at most.',
  );
}

/** The longest that a timer of Node.js waits. */
const longestTimerMs = 2_147_483_647;

/** Elements parted by slashes, integers as such; or a JSON array, for elements that have a slash or are digits. */
export function parseSubspace(text: string): Subspace {
  const elements: unknown = text.startsWith('[') ? fromJson(text) : text.split('/').map(elementOf);
  const isElement = (one: unknown) => (typeof one === 'string' && one !== '') || Number.isSafeInteger(one);
  if (Array.isArray(elements) && elements.length > 0 && elements.every(isElement)) {
    return elements as (string | number)[];
  }
  throw new InvalidArgumentError(
    "It has to be elements parted by '/', or a JSON array of texts and integers.",
  );
}

function elementOf(text: string): string | number {
  return /^(?:0|-?[1-9]\d*)$/.test(text) ? Number(text) : text;
}

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param max of the list that it bounds */
export function parseLimit(max: number): (text: string) => number {
  return (text) => {
    const limit = Number(text);
    if (/^\d+$/.test(text) && limit >= 1 && limit <= max) return limit;
    throw new InvalidArgumentError(`It has to be an integer from 1 to ${max}.`);
  };
}

export function parseRatio(text: string): number {
  const ratio = Number(text);
  if (text.trim() !== '' && ratio > 0 && ratio <= 1) return ratio;
  throw new InvalidArgumentError('It has to be a number above 0, to 1.');
}
