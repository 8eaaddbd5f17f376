import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StoreOptions } from '../store/options.ts';
import { CommandFailure, usageFailure } from './failure.ts';
import type { ModelsFlags } from './flags.ts';
import type { Io } from './io.ts';

/** What a module of --models exports as its default: at least the models, and the handlers that they need. */
type OptionParts = Partial<StoreOptions> & Pick<StoreOptions, 'dataModelsById'>;

/**
 * What a store is opened with: the options of the module, and the place that flags name.
 *
 * @throws CommandFailure OPTION_INVALID, MODELS_FAILED
 */
export async function programOptions(
  { cwd }: Pick<Io, 'cwd'>,
  command: string,
  { models, database, subspace }: ModelsFlags,
): Promise<StoreOptions> {
  if (models === undefined) throw usageFailure(`${command} needs --models (or GODWIT_MODELS).`);
  const parts = await loadOptions(models, cwd);
  const place = { database: database ?? parts.database, subspace: subspace ?? parts.subspace };
  if (place.database === undefined || place.subspace === undefined) {
    throw usageFailure(`${command} needs --database and --subspace, unless the module of --models has them.`);
  }
  return { ...parts, database: place.database, subspace: place.subspace };
}

/**
 * The options of a program, from a module that it shares with the command.
 *
 * @param specifier a path, from where the command was called, or the name of a package
 * @throws CommandFailure OPTION_INVALID
 */
async function loadOptions(specifier: string, cwd: string): Promise<OptionParts> {
  const path = resolve(cwd, specifier);
  const isPath = /^\.{0,2}\//.test(specifier) || existsSync(path);
  let module: Readonly<Record<string, unknown>>;
  try {
    module = (await import(isPath ? pathToFileURL(path).href : specifier)) as Readonly<
      Record<string, unknown>
    >;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw usageFailure(`The module ${specifier} of --models cannot be loaded: ${why}`);
  }
  const given: unknown = module['default'];
  const parts: unknown = typeof given === 'function' ? await callOf(given, specifier) : given;
  if (typeof parts === 'object' && parts !== null && Reflect.get(parts, 'dataModelsById') !== undefined) {
    return parts as OptionParts;
  }
  throw usageFailure(
    `The default export of ${specifier} has to be an object of store options with dataModelsById, or a function that ` +
      'answers one.',
  );
}

async function callOf(given: unknown, specifier: string): Promise<unknown> {
  try {
    return await (given as () => unknown)();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CommandFailure('MODELS_FAILED', `The function that ${specifier} exports failed: ${why}`);
  }
}
