import { afterEach, beforeEach, expect, it } from 'vitest';
import { readOwner } from '../../src/migration/owner.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, cityOf, createMigrationRig } from '../rig/migration.ts';
import { FoundationDBMigrationLease } from '../../src/migration/foundationdb-lease.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import { systemRandom } from '../../src/ports/random.ts';
import { createFaultyDatabase } from '../rig/faulty-database.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.seed(CityV1, [cityOf(1)]);
});
afterEach(() => rig.close());

it('a lease is not kept by an attempt that is given up after the answer to its commit was lost', async () => {
  const stop = new AbortController();
  const database = createFaultyDatabase(rig.database, ({ kind }) => {
    if (kind !== 'commit' || stop.signal.aborted) return undefined;
    stop.abort();
    return 'unknownApplied';
  });
  const lease = new FoundationDBMigrationLease({
    database,
    keys: createStoreKeys(rig.subspace),
    session: 's',
    timeoutMs: 10_000,
    heartbeatMs: 2_500,
    clock: rig.clock,
    random: systemRandom,
    process: {
      identity: { host: 'host', pid: 1, bootId: 'b', pidNamespace: 'n', startTime: '1' },
      sessions: new Set(['s']),
      isCertainlyDead: () => false,
    },
  });
  const attempt = lease.acquire({ modelId: 1, migrationId: 'm', nodeId: 'n', signal: stop.signal });
  await expect(rig.settle(attempt)).rejects.toMatchObject({ name: 'AbortError' });
  const owner = await rig.database.transact((tx) => readOwner(tx, rig.keysOf(1)));
  expect(owner?.epoch).toBe(1);
  expect(owner?.token).toBe('');
});
