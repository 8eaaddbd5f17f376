/** A process that writes and reads places, in the older release or in the one that builds indexes, until it is told. */
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { createSeededRandom } from '../rig/seed.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { watchCommits } from '../rig/watched-commits.ts';
import { PlaceV1, placeId, placeKeysIn, placeModelId, placeOf, PlaceV1dot1 } from './live-index-models.ts';
import type { PlaceOrder, PlaceReport } from './live-index-processes.ts';

const report = (message: PlaceReport) => process.send?.(message);
/** Resolves when the message has left the process: whatever happens then, the parent knows. */
const announce = (message: PlaceReport) =>
  new Promise((resolve) => {
    process.send?.(message, resolve);
  });
const never = new Promise<never>(() => undefined);

/** Stops for ever at the n-th commit that moves the ledger of the index pass or of its verification. */
function watchLedger(database: KeyValueDatabase, { stopAt, database: where }: PlaceOrder): KeyValueDatabase {
  let isStopped = false;
  const stopHere = async (commit: number, side: 'before' | 'after') => {
    // One that meets a writer has no after: then it is the next.
    if (!isStopped && stopAt !== undefined && commit >= stopAt.commit && stopAt.side === side) {
      isStopped = true;
      report({ type: 'stopped' });
    }
    // Whichever range it is of: the others would go on to the end.
    if (isStopped) await never;
  };
  return watchCommits(database, placeKeysIn(where).ranges(), {
    before: ({ number }) => stopHere(number, 'before'),
    after: ({ number }) => stopHere(number, 'after'),
  });
}

async function run(order: PlaceOrder): Promise<void> {
  const random = createSeededRandom(order.seed);
  const model = order.release === 'older' ? PlaceV1 : PlaceV1dot1;
  const database = await openTestDatabase(order.database.address);
  const store = await FoundationDBDataStore.open({
    database: watchLedger(database, order),
    subspace: order.database.subspace,
    dataModelsById: { [placeModelId]: model },
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    migrationAuditEventReporter: () => undefined,
    nodeId: order.nodeId,
  });
  const places = store.model(model as typeof PlaceV1);
  let isOver = false;
  process.once('message', () => {
    isOver = true;
  });
  report({ type: 'serving' });
  const built = order.release === 'newer' ? buildAndTell(store) : Promise.resolve();
  while (!isOver) {
    // Of each place only one process is the writer.
    const n = random.below(order.places / order.writers) * order.writers + order.writer;
    const place = placeOf(n, random.below(500));
    const what = random.below(4);
    await announce({ type: 'writing', id: place.id });
    if (what === 0) await places.delete(place.id);
    else await places.put(place);
    report({ type: 'wrote', id: place.id, people: what === 0 ? null : place.people });
    const read = placeId(random.below(order.places));
    await places.get(read);
    await places.scan({ limit: 5, reverse: true }).page();
  }
  await built;
  await store.close();
  await database.close();
  report({ type: 'done' });
  process.disconnect();
}

/** A scan by the index is refused until it is ready, and for nothing but that. */
async function buildAndTell(store: FoundationDBDataStore): Promise<void> {
  const isBuilding = await store
    .model(PlaceV1dot1)
    .scan({ by: 'byPeople', limit: 1 })
    .page()
    .then(
      () => false,
      (error: unknown) => {
        if ((error as { code?: unknown }).code !== 'INDEX_BUILDING') throw error;
        return true;
      },
    );
  if (isBuilding) report({ type: 'building' });
  await store.awaitMigration(placeModelId);
  await store.model(PlaceV1dot1).scan({ by: 'byPeople', limit: 1 }).page();
  report({ type: 'ready' });
}

// What is awaited may keep no process alive; the channel does, until it is disconnected.
process.on('message', () => undefined);
process.once('message', (order) => {
  run(order as PlaceOrder).catch((error: unknown) => {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    report({ type: 'failed', message });
    process.exit(1);
  });
});
report({ type: 'loaded' });
