/** A node that opens the places in version 2.0 and migrates or waits, until it is killed or told to close. */
import { backfill, FoundationDBDataStore } from '../src/index.ts';
import { systemClock } from '../src/ports/clock.ts';
import { systemProcess } from '../src/ports/process.ts';
import { systemRandom } from '../src/ports/random.ts';
import { machineMs } from './machine-clock.ts';
import { benchSubspace, placeModelId, PlaceV2 } from './models.ts';

/** As the one argument of the process. */
export interface TakeoverTask {
  readonly directory: string;
  readonly nodeId: string;
  readonly recordsPerSecond: number;
  readonly leaseTimeoutMs: number;
  /** Does not see that a process is dead, as on another machine: the timeout decides. */
  readonly isBlind: boolean;
}

export type TakeoverReport =
  | { readonly type: 'waiting' | 'owning' | 'closed' }
  /** `close` is called now, on the monotonic clock of the machine. */
  | { readonly type: 'closing'; readonly atMs: number }
  | { readonly type: 'failed'; readonly message: string };

const report = (message: TakeoverReport) => process.send?.(message);

async function run(task: TakeoverTask): Promise<void> {
  const { directory, nodeId, recordsPerSecond, leaseTimeoutMs, isBlind } = task;
  const ports = { clock: systemClock, random: systemRandom, process: systemProcess };
  const store = await FoundationDBDataStore.openWith(
    {
      database: `embedded:${directory}`,
      subspace: benchSubspace,
      dataModelsById: { [placeModelId]: PlaceV2 },
      migrationHandler: {
        Place: backfill({ module: new URL('./transform.js', import.meta.url) }),
      },
      migrationMaxRecordsPerSecond: recordsPerSecond,
      migrationLeaseTimeoutMs: leaseTimeoutMs,
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
      migrationAuditEventReporter({ type }) {
        if (type === 'LeaseRejected') report({ type: 'waiting' });
        if (type === 'LeaseAcquired') report({ type: 'owning' });
      },
      nodeId,
    },
    isBlind ? { ...ports, process: { ...systemProcess, isCertainlyDead: () => false } } : ports,
  );
  process.once('message', () => {
    report({ type: 'closing', atMs: machineMs() });
    void store.close().then(() => {
      report({ type: 'closed' });
      process.disconnect();
    });
  });
}

// Nobody is left to tell.
process.on('disconnect', () => process.exit());
run(JSON.parse(process.argv[2] ?? '') as TakeoverTask).catch((error: unknown) => {
  report({
    type: 'failed',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  });
});
