import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { createRange, readRanges, totalsOf, writeRange } from '../../src/migration/passes/ledger.ts';
import type { PassName } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, cityOf, createMigrationRig, succeed, toCityV2 } from '../rig/migration.ts';
import { createTrapRig } from '../rig/trap-rig.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.seed(CityV1, cities);
});
afterEach(() => rig.close());

const cities = Array.from({ length: 10 }, (_, n) => cityOf(n));
const move = { migrationHandler: backfill({ transform: toCityV2 }) };

/** The process dies when a phase has begun and its ranges are planned, with no record read. */
async function dieWithRangesOf(pass: PassName): Promise<void> {
  const phase = pass === 'verify' ? 'Verify' : 'Backfill';
  await rig.openUntil({ 1: CityV2 }, move, (event) => event.phase === phase && event.type === 'PhaseStarted');
  const keys = rig.keysOf(1);
  await rig.database.transact((tx) => {
    writeRange(tx, keys, pass, 0, createRange(rangeOf(keys.records(1)), 1));
    return Promise.resolve();
  });
}

describe('a phase ends although a program with other options left ranges half-way', () => {
  it('of a verification that is switched off now', async () => {
    await dieWithRangesOf('verify');
    const store = await rig.open(
      { 1: CityV2 },
      { ...move, migrationVerification: 'off', migrationContractHandler: succeed },
    );
    expect(await store.model(CityV2).count()).toBe(cities.length);
  });

  it('of a transform in whose place a hand-written handler is now', async () => {
    await dieWithRangesOf('backfill');
    const byHand = async (context: MigrationContext) => {
      for await (const { record } of context.records()) {
        const { id, name, latitude, longitude } = toCityV2(record) as Readonly<Record<string, unknown>>;
        await context.write({ id, name, latitude, longitude });
      }
      return MigrationOutcome.Success;
    };
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: byHand });
    expect(await store.model(CityV2).count()).toBe(cities.length);
  });
});

it('a migration with too many records in quarantine fails, although whoever set them aside died before it looked', async () => {
  const trap = createTrapRig();
  await trap.fill(cities.length);
  const options = {
    dataModelsById: { 1: CityV2 },
    migrationHandler: backfill({
      transform: (city) => {
        if (String(city['id']) < cityOf(2).id) throw new Error('no');
        return toCityV2(city);
      },
      onPoison: 'quarantine',
      maxQuarantined: 1,
    }),
  };
  const quarantined = async () =>
    totalsOf(await trap.database.transact((tx) => readRanges(tx, trap.keys, 'backfill'))).quarantined;
  // Death as it shows in the database: that the chunk is committed is the last that ever happens.
  let isDead = false;
  const dieIfDead = () => {
    if (isDead) throw new Error('died');
  };
  trap.beforeCommit = dieIfDead;
  trap.afterCommit = async () => {
    isDead ||= (await quarantined()) > 1;
    dieIfDead();
  };
  await trap.open(options).catch(() => undefined);
  trap.beforeCommit = undefined;
  trap.afterCommit = undefined;
  expect(await quarantined()).toBe(2);
  await expect(trap.open(options)).rejects.toMatchObject({
    code: 'MIGRATION_FAILED',
    details: { lastError: { code: 'QUARANTINE_FULL' } },
  });
  await trap.close();
});
