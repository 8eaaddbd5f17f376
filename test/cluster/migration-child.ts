/** A process that opens the items in version 2, tells its parent of each commit that moves some, and stops where told. */
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { readFence } from '../../src/records/fence.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { watchCommits } from '../rig/watched-commits.ts';
import { ItemV2 } from './item-models.ts';
import { itemKeysIn, itemModelId } from './items.ts';
import type { MigrationOrder, MigrationReport, StopPoint } from './migration-processes.ts';

const report = (message: MigrationReport) => process.send?.(message);

/** Once stopped, no commit that moves records is sent, by whichever range: until the parent says otherwise. */
function createBrake(stopAt: StopPoint | undefined) {
  let released: Promise<void> | undefined;
  const moved = { before: 0, after: 0 };
  return (records: number, side: StopPoint['side']): Promise<void> => {
    moved[side] += records;
    if (released !== undefined) return released;
    if (stopAt?.side !== side || moved[side] < stopAt.records) return Promise.resolve();
    released = freed;
    report({ type: 'stopped' });
    return released;
  };
}

/** The parent's second word, also when it comes before there is anything to let go. */
const freed = new Promise<void>((resolve) => {
  process.once('message', () => void process.once('message', () => resolve()));
});

function watchItems(
  database: KeyValueDatabase,
  { records, verification }: { readonly records: Uint8Array; readonly verification: Uint8Array },
  stopAt: StopPoint | undefined,
): KeyValueDatabase {
  const brake = createBrake(stopAt);
  const moving = watchCommits(database, records, {
    async before({ keys }) {
      await brake(keys, 'before');
      report({ type: 'sending', records: keys });
    },
    async after({ keys }) {
      report({ type: 'acknowledged', records: keys });
      await brake(keys, 'after');
    },
  });
  return watchCommits(moving, verification, {
    after: () => void report({ type: 'verifying' }),
  });
}

async function run({ place, nodeId, stopAt }: MigrationOrder): Promise<void> {
  const database = await openTestDatabase(place.address);
  const itemKeys = itemKeysIn(place);
  const fence = await database.transact((tx) => readFence(tx, itemKeys));
  if (fence === undefined) throw new Error('the items were never published');
  const store = await FoundationDBDataStore.open({
    database: watchItems(
      database,
      { records: itemKeys.records(fence.keySpace), verification: itemKeys.ranges('verify') },
      stopAt,
    ),
    subspace: place.subspace,
    dataModelsById: { [itemModelId]: ItemV2 },
    migrationHandler: { Item: backfill({ module: new URL('./mark-item.ts', import.meta.url) }) },
    persistMigrationAuditEvents: true,
    migrationAuditEventReporter: ({ type }) => void report({ type: 'audit', event: type }),
    nodeId,
  });
  report({ type: 'serving', records: await store.model(ItemV2).count() });
  await store.close();
  await database.close();
  report({ type: 'done' });
  process.disconnect();
}

// What is awaited may keep no process alive; the channel does, until it is disconnected.
process.on('message', () => undefined);
process.once('message', (order) => {
  run(order as MigrationOrder).catch((error: unknown) => {
    report({
      type: 'failed',
      message: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
    process.exit(1);
  });
});
report({ type: 'loaded' });
