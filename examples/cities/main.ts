/**
 * `npm start`: a database of version 1 is opened with models of version 2, and what happens can be watched, killed and
 * started again.
 */
import { existsSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createDisplay } from './display.ts';
import { loadVersion1, WrongLimit } from './load.ts';
import { migrateToVersion2 } from './migrate.ts';
import type { Options } from './options.ts';
import { help, OptionError, parseOptions } from './options.ts';
import { thousands } from './format.ts';

/** As a shell has it for a program that a signal ended: 128 and the signal's number. */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

async function run(options: Options): Promise<number> {
  const display = createDisplay(process.stdout);
  const interrupted = new AbortController();
  let exitCode = 0;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // Whoever asks twice does not want to wait.
      if (interrupted.signal.aborted) process.exit(exitCodes[signal]);
      exitCode = exitCodes[signal];
      interrupted.abort();
    });
  }

  display.line(`pid ${process.pid} does the work: interrupt it with Ctrl-C, or with kill -9 ${process.pid}.`);
  const directory = resolve(options.directory);
  const database = `embedded:${directory}`;
  if (options.reset) deleteData(directory);
  const loaded = await loadVersion1(database, options.limit, display, interrupted.signal);
  if (loaded === undefined || interrupted.signal.aborted) return exitCode;
  const end = await migrateToVersion2(database, options.rate, display, interrupted.signal);
  if (end === 'upToDate') {
    display.line(
      `Everything is up to date: ${thousands(loaded.places)} cities in ${loaded.countries} countries, version 2.0. ` +
        'npm start -- --reset starts over.',
    );
  }
  return exitCode;
}

/** Nothing but what the embedded engine made: a wrong path must not cost anybody's files. */
function deleteData(directory: string): void {
  if (!existsSync(directory)) return;
  if (!existsSync(join(directory, 'godwit.json'))) {
    throw new OptionError(`--reset deletes only directories of this example, and ${directory} is none.`);
  }
  rmSync(directory, { recursive: true });
}

try {
  const options = parseOptions(process.argv.slice(2), process.stdout.isTTY);
  if (options.help) console.log(help);
  else process.exitCode = await run(options);
} catch (error) {
  const isUsers = error instanceof OptionError || error instanceof WrongLimit;
  console.error(isUsers ? error.message : error);
  process.exitCode = isUsers ? 2 : 1;
}
