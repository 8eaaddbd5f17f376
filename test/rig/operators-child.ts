import { backfill } from '../../src/migration/backfill-spec.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { TownV1, TownV2 } from './operators-models.ts';
import type { TestPlace } from './test-place.ts';
import { openTestDatabase } from './test-place.ts';

/**
 * A process that does something with a store and then has nothing left to do: it has to end by itself, with no call
 * of `process.exit` and no timer that keeps it.
 */
const [mode, given = ''] = process.argv.slice(2);
const { address, subspace } = JSON.parse(given) as TestPlace;
const place = {
  // The store opens what it can by itself, and then it has to end it too.
  database: address.startsWith('fake:') ? await openTestDatabase(address) : address,
  subspace,
  migrationAuditEventReporter: () => undefined,
};
const before = await FoundationDBDataStore.open({ ...place, dataModelsById: { 1: TownV1 } });
await before.model(TownV1).add({ id: 'a', lat: '1' });
await before.close();

if (mode !== 'closed') {
  const after = await FoundationDBDataStore.open({
    ...place,
    dataModelsById: { 1: TownV2 },
    migrationHandler: backfill({ module: new URL('./operators-town-v2.ts', import.meta.url) }),
    ...(mode === 'paused' ? { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } : {}),
  });
  if (mode === 'paused') await after.pauseMigration(1);
  if (mode !== 'open') await after.close();
}
process.stdout.write('ready to end\n');
