import type { MigrationPhase } from '../../src/index.ts';
import type { Display } from './display.ts';
import { seconds, thousands } from './format.ts';
import type { StoreV2 } from './migrate.ts';
import { CityV2, CountryV2 } from './models-v2.ts';
import type { PhaseTiming, Timings } from './timings.ts';

const phases: readonly MigrationPhase[] = ['Expand', 'Backfill', 'Verify', 'Contract'];
const migrated = { 1: 'Country', 2: 'City' } as const;

/** What was done, what it took, and what can be asked now. */
export async function summarize(store: StoreV2, timings: Timings, display: Display): Promise<void> {
  display.line();
  for (const [id, name] of Object.entries(migrated)) {
    const { recordsMoved, chunks } = await store.migrationMetrics(Number(id));
    display.line(`${name.padEnd(8)} ${thousands(recordsMoved)} records moved in ${thousands(chunks)} chunks`);
    const took = phases.flatMap((phase) => {
      const timing = timings.of(name, phase);
      return timing === undefined
        ? []
        : [`${phase} ${seconds(timing.ms)}${taskText(phase, timing, timings)}`];
    });
    if (took.length > 0) display.line(`         in this run: ${took.join(', ')}`);
  }
  await sayVerified(store, display);
  await query(store, display);
}

/** The transform runs in worker threads alone: one task for each chunk that has records. */
function taskText(phase: MigrationPhase, { tasks }: PhaseTiming, { threads }: Timings): string {
  return phase === 'Backfill' ? ` (${thousands(tasks)} tasks of ${threads} worker threads)` : '';
}

async function sayVerified(store: StoreV2, display: Display): Promise<void> {
  const cities = store.model(CityV2);
  const [records, ...entries] = await Promise.all([
    cities.count(),
    cities.count({ by: 'fromNorth' }),
    cities.count({ by: 'bySearchName' }),
  ]);
  display.line();
  display.line('Verified before the publication: every record as version 2 demands it, every index entry.');
  display.line(
    `Counted after it: ${thousands(records)} cities by key, ${entries.map(thousands).join(' and ')} by the new indexes.`,
  );
}

/** Countries that have something to show, in this order; with --limit the first one there is. */
const favourites = ['IS', 'NZ'];

async function query(store: StoreV2, display: Display): Promise<void> {
  const countries = store.model(CountryV2);
  const cities = store.model(CityV2);
  const wanted = await Promise.all(favourites.map((code) => countries.get(code)));
  const [country] = [...wanted, ...(await countries.scan({ limit: 1 }).toArray())].filter(
    (found) => found !== undefined,
  );
  if (country === undefined) return;
  const { code, name, flag } = country;
  const where = { country: code };
  const [north, south, named, count] = await Promise.all([
    cities.scan({ by: 'fromNorth', where, limit: 3 }).toArray(),
    cities.scan({ by: 'fromNorth', where, limit: 3, reverse: true }).toArray(),
    cities.scan({ by: 'bySearchName', where, range: { gte: 's', lt: 't' }, limit: 5 }).toArray(),
    cities.count({ by: 'fromNorth', where }),
  ]);
  const degrees = (found: typeof north) =>
    found.map((city) => `${city.name} ${city.latitude.toFixed(2)}`).join(', ');
  display.line();
  display.line(`${flag} ${name} has ${thousands(count)} places in there.`);
  display.line(`  northernmost       ${degrees(north)}`);
  display.line(`  southernmost       ${degrees(south)}`);
  display.line(`  beginning with s   ${named.map((city) => city.name).join(', ')}`);
}
