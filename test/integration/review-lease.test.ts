import { afterEach, beforeEach, expect, it } from 'vitest';
import { readOwner } from '../../src/migration/owner.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, cityOf, createMigrationRig } from '../rig/migration.ts';
import { FoundationDBMigrationLease } from '../../src/migration/foundationdb-lease.ts';
import { startBeats } from '../../src/migration/lease-beats.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import { systemRandom } from '../../src/ports/random.ts';
import { createFaultyDatabase } from '../rig/faulty-database.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.seed(CityV1, [cityOf(1)]);
});
afterEach(() => rig.close());

const createLease = (database: KeyValueDatabase, session: string, isCertainlyDead: () => boolean) =>
  new FoundationDBMigrationLease({
    database,
    keys: createStoreKeys(rig.subspace),
    session,
    timeoutMs: 10_000,
    heartbeatMs: 2_500,
    startBeats,
    clock: rig.clock,
    random: systemRandom,
    process: {
      identity: { host: 'host', pid: 1, bootId: 'b', pidNamespace: 'n', startTime: '1' },
      sessions: new Set([session]),
      isCertainlyDead,
    },
  });

it('whoever waits for a lease tries again as soon as its holder is known to be dead', async () => {
  let isDead = false;
  const signal = new AbortController().signal;
  const request = { modelId: 1, migrationId: 'm', nodeId: 'n', signal };
  await createLease(rig.database, 'holder', () => false).acquire(request);
  const contender = createLease(rig.database, 'contender', () => isDead);
  const refused = await contender.acquire(request);
  if (refused.refused !== true) throw new Error('it was granted');
  const sinceMs = rig.clock.monotonicMs();
  isDead = true;
  await rig.settle(refused.worthRetrying(signal));
  expect(rig.clock.monotonicMs() - sinceMs).toBeLessThan(200);
  const granted = await contender.acquire(request);
  expect(granted).toMatchObject({ epoch: 2, takeover: true });
});

it('a lease is not kept by an attempt that is given up after the answer to its commit was lost', async () => {
  const stop = new AbortController();
  const database = createFaultyDatabase(rig.database, ({ kind }) => {
    if (kind !== 'commit' || stop.signal.aborted) return undefined;
    stop.abort();
    return 'unknownApplied';
  });
  const lease = createLease(database, 's', () => false);
  const attempt = lease.acquire({ modelId: 1, migrationId: 'm', nodeId: 'n', signal: stop.signal });
  await expect(rig.settle(attempt)).rejects.toMatchObject({ name: 'AbortError' });
  const owner = await rig.database.transact((tx) => readOwner(tx, rig.keysOf(1)));
  expect(owner?.epoch).toBe(1);
  expect(owner?.token).toBe('');
});
