import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { ownerFormat, readOwner, vacated } from '../../src/migration/owner.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  answers,
  CityV1,
  CityV2,
  cityOf,
  createLatch,
  createMigrationRig,
  toCityV2,
} from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const inBackground = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const move = { migrationHandler: backfill({ transform: toCityV2 }) };
const cities = Array.from({ length: 3 }, (_, n) => cityOf(n));

describe('a handler that answers Partial', () => {
  it('is not called again once the store closes', async () => {
    await rig.seed(CityV1, cities);
    let calls = 0;
    const closed = createLatch();
    const opened = rig.open(
      { 1: CityV2 },
      {
        ...inBackground,
        migrationExpandHandler: async () => {
          await opened;
          calls += 1;
          if (calls === 3) void opened.then((store) => store.close()).then(() => closed.open());
          return calls < 40
            ? MigrationOutcome.Partial({ nextCursor: String(calls) })
            : MigrationOutcome.Success;
        },
        ...move,
      },
    );
    await opened;
    await rig.settle(closed.opened);
    expect(calls).toBe(3);
  });

  it('is not called again once the budget is spent', async () => {
    await rig.seed(CityV1, cities);
    let calls = 0;
    const opening = rig.open(
      { 1: CityV2 },
      {
        migrationStartupBudgetMs: 1_000,
        migrationExpandHandler: async () => {
          calls += 1;
          await new Promise<void>((resolve) => rig.clock.setTimeout(resolve, 300));
          return calls < 40
            ? MigrationOutcome.Partial({ nextCursor: String(calls) })
            : MigrationOutcome.Success;
        },
        ...move,
      },
    );
    await expect(opening).rejects.toMatchObject({ code: 'MIGRATION_PENDING' });
    expect(calls).toBeLessThan(6);
  });
});

it('a lease that is lost while a retry is waited for takes no start back', async () => {
  await rig.seed(CityV1, cities);
  const retry = () => MigrationOutcome.Retry({ retryAfterMs: 20_000 });
  const handler = answers(retry, retry, retry, retry, retry);
  let released = false;
  const store = rig.open(
    { 1: CityV2 },
    {
      ...move,
      migrationExpandHandler: handler,
      migrationRetryPolicy: { maxAttempts: 2 },
      migrationAuditEventReporter: ({ type }) => {
        if (type !== 'RetryScheduled' || released) return;
        released = true;
        const keys = rig.keysOf(1);
        void rig.database.transact(async (tx) => {
          const owner = await readOwner(tx, keys);
          if (owner !== undefined) tx.set(keys.owner, ownerFormat.encode(vacated(owner, owner.epoch + 1)));
        });
      },
    },
  );
  await expect(store).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
  expect(handler.calls.length).toBe(2);
});
