import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import { FoundationDBDataStore } from '../../src/index.ts';
import { percent, thousands } from './format.ts';
import { Import, importKey } from './import-model.ts';
import { CityV1, CountryV1 } from './models-v1.ts';
import type { Display } from './display.ts';
import type { Place } from './place.ts';

/** Records of one transaction: about a tenth of the 10 MB that it may have. */
const batchSize = 2_000;

export interface Loaded {
  readonly places: number;
  readonly countries: number;
}

export class WrongLimit extends Error {}

/**
 * Makes sure that the models of version 1 are loaded. Each batch commits with the count of what is loaded, so whoever
 * starts it again goes on behind the last batch; when all is there, cities.json is not even read.
 *
 * Answers undefined when `signal` ended it.
 */
export async function loadVersion1(
  database: string,
  limit: number | undefined,
  display: Display,
  signal: AbortSignal,
): Promise<Loaded | undefined> {
  const subspace = ['cities'];
  const before = await FoundationDBDataStore.open({ database, subspace, dataModelsById: { 3: Import } });
  const found = await before.model(Import).get(importKey);
  await before.close();
  if (found !== undefined && limit !== undefined && found.places !== limit) {
    throw new WrongLimit(
      `This directory holds ${thousands(found.places)} places, not ${thousands(limit)}: leave --limit out, or start over with --reset.`,
    );
  }
  if (found !== undefined && found.loaded === found.places) return found;

  const places = readPlaces(found?.places ?? limit);
  const store = await FoundationDBDataStore.open({
    database,
    subspace,
    dataModelsById: { 1: CountryV1, 2: CityV1, 3: Import },
  });
  try {
    if (found !== undefined) {
      display.line(`Loading version 1 goes on at ${percent(found.loaded / found.places)}.`);
    }
    const countries = await loadCountries(store, places);
    let loaded = found?.loaded ?? 0;
    while (loaded < places.length && !signal.aborted) {
      loaded = await loadBatch(store, places, countries);
      display.status(
        () =>
          `Loading version 1: ${thousands(loaded)} of ${thousands(places.length)} places (${percent(loaded / places.length)})`,
      );
      // Lets Ctrl-C through.
      await setImmediate();
    }
    if (loaded < places.length) {
      display.line(
        `Stopped at ${percent(loaded / places.length)} of loading version 1. npm start goes on there.`,
      );
      return undefined;
    }
    display.line(`Loaded version 1: ${thousands(places.length)} places in ${countries} countries.`);
    return { places: places.length, countries };
  } finally {
    await store.close();
  }
}

function readPlaces(limit: number | undefined): readonly Place[] {
  const path = createRequire(import.meta.url).resolve('cities.json');
  const places = JSON.parse(readFileSync(path, 'utf8')) as readonly Place[];
  return places.slice(0, limit);
}

type StoreV1 = FoundationDBDataStore<{ 1: typeof CountryV1; 2: typeof CityV1; 3: typeof Import }>;

/** All in one transaction. `put`: what is there already may come again. */
async function loadCountries(store: StoreV1, places: readonly Place[]): Promise<number> {
  const codes = [...new Set(places.map(({ country }) => country))].sort();
  const names = new Intl.DisplayNames(['en'], { type: 'region' });
  await store.transact(async (tx) => {
    const progress = await tx.model(Import).get(importKey);
    if (progress !== undefined) return;
    for (const code of codes) await tx.model(CountryV1).put({ code, name: names.of(code) ?? code });
    await tx
      .model(Import)
      .put({ source: importKey, places: places.length, loaded: 0, countries: codes.length });
  });
  return codes.length;
}

/** The next batch, and the count of what is loaded then. */
async function loadBatch(store: StoreV1, places: readonly Place[], countries: number): Promise<number> {
  return store.transact(async (tx) => {
    const { loaded = 0 } = (await tx.model(Import).get(importKey)) ?? {};
    const batch = places.slice(loaded, loaded + batchSize);
    const cities = tx.model(CityV1);
    await Promise.all(
      batch.map(({ name, lat, lng, country, admin1, admin2 }, at) =>
        cities.put({ id: loaded + at + 1, name, lat, lng, country, admin1, admin2 }),
      ),
    );
    const next = loaded + batch.length;
    await tx.model(Import).put({ source: importKey, places: places.length, loaded: next, countries });
    return next;
  });
}
