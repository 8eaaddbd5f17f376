import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationLease } from '../../src/migration/lease.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, cityOf, createMigrationRig, toCityV2 } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const inBackground = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const move = { migrationHandler: backfill({ transform: toCityV2 }) };
/** Only to be published. */
const CityV11 = defineModel({ ...CityV1, version: '1.1' });
const properties = {
  id: string({ number: 1, required: true }),
  name: string({ number: 2, required: true }),
  people: int32({ number: 3 }),
};
const Plain = defineModel({ name: 'Town', version: '1.0', key: ['id'], properties });
const Indexed = defineModel({
  ...Plain,
  version: '1.1',
  indexes: [{ name: 'byPeople', on: ['people'] }],
});
const Unindexed = defineModel({ ...Plain, version: '1.2', indexes: [] });
const towns = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: `t${n}`, name: `town ${n}`, people: n }));

/** A lease that nobody gets. */
const neverGranted: MigrationLease = {
  acquire: () =>
    Promise.resolve({
      refused: true,
      holder: undefined,
      worthRetrying: (signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true });
        }),
    }),
  explain: () => Promise.resolve(undefined),
};

/** An operator has canceled the migration to 2.0 before anybody began it. */
async function cancelBeforeItBegins(): Promise<void> {
  await rig.seed(CityV1, [cityOf(1), cityOf(2), cityOf(3)]);
  const store = await rig.open({ 1: CityV2 }, { ...inBackground, ...move, migrationLease: neverGranted });
  await store.cancelMigration(1, 'not today');
  await rig.settle(store.close());
}

describe('a migration that was canceled before it began', () => {
  it('is nothing that an older program waits for: it is served', async () => {
    await cancelBeforeItBegins();
    const older = await rig.open({ 1: CityV1 });
    expect(await older.model(CityV1).count()).toBe(3);
    await rig.settle(older.awaitMigration(1, { timeoutMs: 10_000 }));
  });

  it('stays so when a compatible definition is published, until an operator resumes it', async () => {
    await cancelBeforeItBegins();
    const node = await rig.open({ 1: CityV2 }, { ...inBackground, ...move });
    expect((await node.migrationStatus(1)).state).toBe('Canceled');
    const other = await rig.open({ 1: CityV11 });
    await rig.settle(other.close());
    expect((await node.migrationStatus(1)).state).toBe('Canceled');
    const next = await rig.open({ 1: CityV2 }, { ...inBackground, ...move });
    expect((await next.migrationStatus(1)).state).toBe('Canceled');
    await rig.settle(next.close());
    await node.resumeMigration(1);
    await rig.settle(node.awaitMigration(1, { timeoutMs: 60_000 }));
    expect(await node.model(CityV2).count()).toBe(3);
  });
});

it('a build of an index is over, paused or not, when a newer program drops the index', async () => {
  await rig.seed(Plain, towns(250));
  const builder = await rig.open({ 1: Indexed }, { ...inBackground, migrationMaxRecordsPerSecond: 1 });
  await builder.pauseMigration(1);
  await rig.settle(builder.close());
  const store = await rig.open({ 1: Unindexed });
  expect(await store.migrationStatus(1)).toMatchObject({ state: 'Idle' });
  await rig.settle(store.awaitMigration(1, { timeoutMs: 30_000 }));
});
