import { StorageException } from '../errors.ts';
import type { FoundationDBDatabase } from '../kv/foundationdb/binding.ts';
import type { KeyValueDatabase } from '../kv/kv.ts';
import type { OpenDatabaseOptions } from '../kv/open.ts';
import type { AnyModels } from '../model/infer.ts';
import { systemClock } from '../ports/clock.ts';
import { systemRandom } from '../ports/random.ts';
import type * as Opened from './opened.ts';
import type { PlanOptions } from './plan/options.ts';
import type { MigrationPlanReport } from './plan/report.ts';

/**
 * The boundary between what importing `godwit` loads and what waits for its first use.
 *
 * A program imports the package to define models, in tests and tools that never open a store too; records, migrations,
 * engines and state machines are four fifths of its files. So whatever the entry point exports reaches those through here
 * alone: by `FoundationDBDataStore.open` and by the functions below. They are loaded as a whole and not one by one, so that
 * nothing that happens later waits for a file, or fails for want of one. Behind the boundary imports are plain ones;
 * drivers and other packages that only some need have a place each (`architecture.ts` has the table).
 */
let opened: Promise<typeof Opened> | undefined;

/**
 * The same each time, once it has been loaded; after a failure it is tried again.
 *
 * @throws StorageException RUNTIME_NOT_LOADED
 */
export function loadOpened(): Promise<typeof Opened> {
  return (opened ??= import('./opened.ts').catch((cause: unknown) => {
    opened = undefined;
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new StorageException(
      'RUNTIME_NOT_LOADED',
      `What opens a database could not be loaded: ${text.split('\n', 1)[0] ?? ''}.`,
      { cause },
    );
  }));
}

/**
 * Opens what an address names: `embedded:<directory>` (durable, shared by the processes of one machine), `memory:`
 * (gone with the process), `fdb:` (a FoundationDB cluster, by its default cluster file or the one that follows), or takes
 * a database that the caller opened: that one stays open when the result is closed.
 *
 * @throws StorageException RUNTIME_NOT_LOADED, DATABASE_INVALID; and what the engine throws
 */
export async function openDatabase(
  address: string | KeyValueDatabase | FoundationDBDatabase,
  options: OpenDatabaseOptions = {},
): Promise<KeyValueDatabase> {
  const { openDatabase: open } = await loadOpened();
  return open(address, options);
}

/**
 * What `open` would do with these options and this database, and why, without doing it: it opens no store, takes no lease
 * and writes nothing. What `open` would refuse is listed, all of it. With `sample` the transforms are tried on some records.
 * The plan is that of a moment: whoever opens a store later compares again.
 *
 * @throws ModelException OPTION_INVALID, MODEL_INVALID, MODEL_UNKNOWN
 * @throws MigrationException MIGRATION_CYCLE
 * @throws StorageException RUNTIME_NOT_LOADED, DATABASE_INVALID, STORAGE_FORMAT_NEWER, STORAGE_CORRUPT, and what the engine
 *   throws
 * @throws RequestException ABORTED
 */
export async function planMigrations<const M extends AnyModels>(
  options: PlanOptions<M>,
): Promise<MigrationPlanReport> {
  const { planMigrationsWith } = await loadOpened();
  return planMigrationsWith(options as PlanOptions, { clock: systemClock, random: systemRandom });
}
