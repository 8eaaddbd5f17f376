import { afterEach, beforeEach, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { ProcessPort } from '../../src/ports/process.ts';
import { systemRandom } from '../../src/ports/random.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { createFaultyDatabase } from '../rig/faulty-database.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, cityOf, createInlinePool, createMigrationRig, toCityV2 } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.seed(
    CityV1,
    Array.from({ length: 300 }, (_, n) => cityOf(n)),
  );
});
afterEach(() => rig.close());

/** Waits in virtual time after its first chunk. */
const slowly = {
  migrationHandler: backfill({ transform: toCityV2 }),
  migrationMaxRecordsPerSecond: 1,
  migrationStartupBudgetMs: 0,
  continueMigrationsInBackground: true,
  persistMigrationAuditEvents: true,
} as const;

const openOn = (database: KeyValueDatabase) => {
  const process: ProcessPort = {
    identity: { host: 'host', pid: 2, bootId: 'boot', pidNamespace: 'namespace', startTime: '1' },
    sessions: new Set(),
    isCertainlyDead: () => false,
  };
  return rig.settle(
    FoundationDBDataStore.openWith(
      {
        ...slowly,
        subspace: rig.subspace,
        nodeId: 'other',
        pool: createInlinePool(),
        migrationAuditEventReporter: () => undefined,
        database,
        dataModelsById: { 1: CityV2 },
      },
      { clock: rig.clock, random: systemRandom, process },
    ),
  );
};

it('a store closes in time, and its events end, although the database has stopped to answer', async () => {
  const { database } = rig;
  let isSilent = false;
  const never = new Promise<never>(() => undefined);
  const store = await openOn({
    engine: database.engine,
    createTransaction: (options) => database.createTransaction(options),
    transact: (body, options) => (isSilent ? never : database.transact(body, options)),
    close: () => Promise.resolve(),
  });
  const events = store.migrationEvents()[Symbol.asyncIterator]();
  isSilent = true;
  await rig.settle(store.close({ timeoutMs: 1_000 }));
  let event = await events.next();
  while (event.done !== true) event = await events.next();
  expect(event.done).toBe(true);
});

it('a refused lease is kept once in the audit although the answer to its commit was lost', async () => {
  const holder = await rig.open({ 1: CityV2 }, slowly);
  let struck = false;
  const lossy = createFaultyDatabase(rig.database, ({ kind }) => {
    if (kind !== 'commit' || struck) return undefined;
    struck = true;
    return 'unknownApplied';
  });
  const contender = await openOn(lossy);
  const rejections = async () =>
    (await holder.migrationAuditEvents(1)).filter(({ type }) => type === 'LeaseRejected').length;
  while ((await rejections()) === 0) await new Promise((resolve) => setImmediate(resolve));
  await rig.settle(contender.close());
  expect(struck).toBe(true);
  expect(await rejections()).toBe(1);
});
