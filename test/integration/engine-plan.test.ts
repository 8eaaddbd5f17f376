import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { openDatabase, openDatabaseToRead } from '../../src/kv/open.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemRandom } from '../../src/ports/random.ts';
import { planMigrations } from '../../src/store/on-demand.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { CityV1, CityV2, cityOf, createInlinePool, toCityV2 } from '../rig/migration.ts';
import { planOf, planOn } from '../rig/plan.ts';
import type { TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

let directory: TemporaryDirectory;
let place: { readonly database: string; readonly subspace: readonly string[] };
beforeEach(() => {
  directory = createTemporaryDirectory('plan');
  place = { database: `embedded:${directory.path}`, subspace: ['plan'] };
});
afterEach(() => directory.remove());

const migrationHandler = backfill({ transform: toCityV2 });
const ports = { clock: systemClock, random: systemRandom };

function openCities() {
  return FoundationDBDataStore.open({
    ...place,
    dataModelsById: { 1: CityV1 },
    pool: createInlinePool() as never,
    migrationAuditEventReporter: () => undefined,
  });
}

async function fill(cities: number): Promise<void> {
  const store = await openCities();
  await store.transact(async (tx) => {
    for (let n = 0; n < cities; n += 1) await tx.model(CityV1).add(cityOf(n));
  });
  await store.close();
}

/** Names of all files, with a hash of each but `lock.mdb`: LMDB's readers, who come and go without a word of data. */
function filesIn(path: string): readonly string[] {
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries
    .map((entry) => {
      const file = join(entry.parentPath, entry.name);
      if (!entry.isFile() || entry.name === 'lock.mdb') return file;
      return `${file} ${createHash('sha256').update(readFileSync(file)).digest('hex')}`;
    })
    .toSorted();
}

describe('a plan for a directory of the embedded engine', () => {
  it('leaves every file as it is to the byte, but that of readers', async () => {
    await fill(300);
    const before = filesIn(directory.path);
    expect(before.some((file) => file.includes('data.mdb '))).toBe(true);
    const report = await planOn(place, { 1: CityV2 }, { migrationHandler, sample: 50, show: ['lat'] });
    expect(filesIn(directory.path)).toEqual(before);
    expect(report).toMatchObject({ engine: 'embedded', isNew: false, problems: [] });
    expect(planOf(report, 1)).toMatchObject({ action: 'migrate', sample: { sampled: 50, moved: 50 } });
    // The same look sees what a write would leave.
    const store = await openCities();
    await store.close();
    expect(filesIn(directory.path)).not.toEqual(before);
  });

  it.each(['is not there', 'is empty', 'has no data yet'])(
    'that %s makes nothing, and publishes all',
    async (what) => {
      const path = join(directory.path, 'data');
      if (what !== 'is not there') mkdirSync(path);
      if (what === 'has no data yet') {
        writeFileSync(join(path, 'godwit.json'), JSON.stringify({ engine: 'godwit-embedded', format: 1 }));
      }
      const before = filesIn(directory.path);
      const report = await planOn({ ...place, database: `embedded:${path}` }, { 1: CityV2 });
      expect(report).toMatchObject({ isNew: true, problems: [] });
      expect(planOf(report, 1)).toMatchObject({ action: 'publish', storedVersion: null });
      expect(filesIn(directory.path)).toEqual(before);
      expect(existsSync(path)).toBe(what !== 'is not there');
    },
  );

  it('that is something else is refused, as open refuses it', async () => {
    writeFileSync(join(directory.path, 'letters.txt'), 'dear');
    await expect(planOn(place, { 1: CityV2 })).rejects.toMatchObject({ code: 'ENGINE_DIRECTORY_INVALID' });
    await expect(openCities()).rejects.toMatchObject({ code: 'ENGINE_DIRECTORY_INVALID' });
  });

  it('that a store of this process has open sees its commits, and disturbs it no more than its own end does', async () => {
    const store = await openCities();
    await store.model(CityV1).add(cityOf(1));
    const first = await planOn(place, { 1: CityV2 }, { migrationHandler });
    expect(planOf(first, 1).estimate).toMatchObject({ records: 1, isEstimate: false });
    await store.model(CityV1).add(cityOf(2));
    const second = await planOn(place, { 1: CityV2 }, { migrationHandler });
    expect(planOf(second, 1).estimate).toMatchObject({ records: 2, isEstimate: false });
    expect(await store.model(CityV1).count()).toBe(2);
    await store.close();
  });

  it('can be opened by a store of this process while it is read', async () => {
    await fill(3);
    const reading = await openDatabaseToRead(place.database, ports);
    const count = () =>
      reading.transact((tx) => tx.getRangeAll(Buffer.of(0), Buffer.of(0xff), { snapshot: true }));
    const before = (await count()).length;
    const store = await openCities();
    await store.model(CityV1).add(cityOf(3));
    expect((await count()).length).toBeGreaterThan(before);
    await reading.close();
    await store.model(CityV1).add(cityOf(4));
    expect(await store.model(CityV1).count()).toBe(5);
    await store.close();
  });

  it('cannot be written through what it was read through, nor compacted meanwhile', async () => {
    await fill(3);
    const reading = await openDatabaseToRead(place.database, ports);
    const before = filesIn(directory.path);
    const writing = reading.transact((tx) => Promise.resolve(tx.set(Buffer.of(1), Buffer.of(1))));
    await expect(writing).rejects.toMatchObject({ code: 2000 });
    expect(filesIn(directory.path)).toEqual(before);
    const other = await openDatabase(place.database);
    await expect(other.compact?.()).rejects.toMatchObject({ code: 'ENGINE_BUSY' });
    await reading.close();
    await other.compact?.();
    await other.close();
  });

  it('is made by the public function with a pool of its own', async () => {
    await fill(2);
    const report = await planMigrations({
      ...place,
      dataModelsById: { 1: CityV2 },
      migrationHandler,
      sample: 2,
    });
    expect(report.models[0]?.sample).toMatchObject({ sampled: 2, moved: 2 });
  });
});
