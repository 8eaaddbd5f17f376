import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { recomputeIndexes } from '../rig/recompute-index.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import type { RemovablePlace } from '../rig/test-database.ts';
import { createTestPlace } from '../rig/test-database.ts';
import { withDatabase } from './items.ts';
import { PlaceV1, placeKeysIn, placeModelId, placeOf } from './live-index-models.ts';
import type { PlaceOrder, PlaceProcess } from './live-index-processes.ts';
import { startPlaceProcess } from './live-index-processes.ts';

const seed = drawSeed('kills beside a live index');
const places = 3_000;
const kills = 4;
/** A builder stops at one of its first commits that move the ledger: the whole takes some forty, claims included. */
const latestCommit = 5;

/** What processes that have ended say is there: people by place, null where it was deleted. */
class Acknowledged {
  readonly #people = new Map<string, number | null>();
  readonly #doubtful = new Set<string>();

  add({ reports }: PlaceProcess): void {
    let inFlight: string | undefined;
    for (const report of reports) {
      if (report.type === 'writing') inFlight = report.id;
      if (report.type !== 'wrote') continue;
      inFlight = undefined;
      this.#people.set(report.id, report.people);
      this.#doubtful.delete(report.id);
    }
    if (inFlight !== undefined) this.#doubtful.add(inFlight);
  }

  /** Those of which nobody knows are left out. */
  get certain(): readonly (readonly [string, number | null])[] {
    return [...this.#people].filter(([id]) => !this.#doubtful.has(id));
  }
}

describe('an index that is built while processes of two releases write', () => {
  let where: RemovablePlace;
  let started: PlaceProcess[];

  beforeEach(async () => {
    where = createTestPlace('live-index');
    started = [];
    await withDatabase(where, async (database) => {
      const store = await FoundationDBDataStore.open({
        database,
        subspace: where.subspace,
        dataModelsById: { [placeModelId]: PlaceV1 },
      });
      for (let from = 0; from < places; from += 500) {
        await store.transact(async (tx) => {
          for (let n = from; n < from + 500; n += 1) await tx.model(PlaceV1).add(placeOf(n, n % 500));
        });
      }
      await store.close();
    });
  });
  afterEach(async () => {
    await Promise.all(started.map((one) => one.kill()));
    await where.remove();
  });

  // Ten processes or so: generous, for a machine that does something else too.
  it('is right in the end, whichever of them are killed', { timeout: 180_000 }, async () => {
    const random = createSeededRandom(seed);
    const acknowledged = new Acknowledged();
    const start = async (
      release: PlaceOrder['release'],
      writer: number,
      stopAt?: PlaceOrder['stopAt'],
    ): Promise<PlaceProcess> => {
      const one = startPlaceProcess({
        database: where,
        nodeId: `${release}-${started.length}`,
        seed: random.below(2 ** 31),
        release,
        places,
        writers: 3,
        writer,
        stopAt,
      });
      started.push(one);
      await one.reported('serving');
      return one;
    };
    const kill = async (one: PlaceProcess) => {
      await one.kill();
      acknowledged.add(one);
    };
    const writers = [await start('older', 0), await start('older', 1)];
    let killedBuilding = 0;
    for (let n = 0; n < kills; n += 1) {
      const side = random.pick(['before', 'after'] as const);
      const builder = await start('newer', 2, { commit: 1 + random.below(latestCommit), side });
      if ((await builder.reported('stopped', 'ready')) === 'stopped') killedBuilding += 1;
      await kill(builder);
      // Those of the older release die as well, and come back.
      const which = random.below(2);
      const writer = writers[which];
      if (writer !== undefined) await kill(writer);
      writers[which] = await start('older', which);
    }
    const last = await start('newer', 2);
    await last.reported('ready');
    expect(killedBuilding).toBeGreaterThanOrEqual(kills - 1);
    for (const one of [...writers, last]) {
      one.tellToEnd();
      await one.reported('done');
      acknowledged.add(one);
    }
    // Nobody was refused anything, but scans by an index that was not ready.
    expect(started.flatMap(({ reports }) => reports.filter(({ type }) => type === 'failed'))).toEqual([]);
    expect(
      started.flatMap(({ reports }) => reports.filter(({ type }) => type === 'building')).length,
    ).toBeGreaterThan(0);
    await withDatabase(where, async (database) => {
      const indexes = await recomputeIndexes(database, placeKeysIn(where));
      expect(indexes.map(({ name, state }) => `${name} ${state}`)).toEqual(['byPeople ready', 'byTag ready']);
      for (const { expected, actual } of indexes) expect(actual).toEqual(expected);
      const store = await FoundationDBDataStore.open({
        database,
        subspace: where.subspace,
        dataModelsById: { [placeModelId]: PlaceV1 },
      });
      const found = new Map<string, number | undefined>();
      for await (const { id, people } of store.model(PlaceV1).scan()) found.set(id, people);
      const { certain } = acknowledged;
      expect(certain.length).toBeGreaterThan(0);
      for (const [id, people] of certain) expect([id, found.get(id) ?? null]).toEqual([id, people]);
      expect(await store.migrationVerification(placeModelId)).toMatchObject({ passed: true });
      await store.close();
    });
  });
});
