import { randomUUID } from 'node:crypto';
import { MigrationException } from '../../src/errors.ts';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import { FoundationDBMigrationLease } from '../../src/migration/foundationdb-lease.ts';
import type { LeaseExplanation, MigrationLease } from '../../src/migration/lease.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemRandom } from '../../src/ports/random.ts';
import { createStoreKeys } from '../../src/records/keys.ts';

export const leaseTimes = { timeoutMs: 1_000, heartbeatMs: 50 } as const;

/** The default lease of a process of which nobody can tell whether it lives. */
export function createDefaultLease(
  database: KeyValueDatabase,
  process: string,
  {
    clock = systemClock,
    timeoutMs,
    heartbeatMs,
  }: { clock?: Clock; timeoutMs: number; heartbeatMs: number } = leaseTimes,
): FoundationDBMigrationLease {
  return new FoundationDBMigrationLease({
    database,
    keys: createStoreKeys(['test']),
    session: process,
    timeoutMs,
    heartbeatMs,
    clock,
    random: systemRandom,
    process: {
      identity: { host: 'host', pid: 1, bootId: '', pidNamespace: '', startTime: '' },
      sessions: new Set([process]),
      isCertainlyDead: () => false,
    },
  });
}

const rowKey = (modelId: number) => Buffer.from(`own lease/${modelId}`);
const readRow = async (tx: Transaction, modelId: number): Promise<LeaseExplanation & { token: string }> =>
  JSON.parse(
    (await tx.get(rowKey(modelId)))?.toString() ?? '{"epoch":0,"token":"","held":false}',
  ) as LeaseExplanation & { token: string };

/** A lease as an application may write one: a row that says who has it, for as long as that one wants. */
export function createRowLease(database: KeyValueDatabase): MigrationLease {
  return {
    acquire: async ({ modelId, migrationId, nodeId, signal, prepare }) => {
      const token = randomUUID();
      const found = await database.transact(
        async (tx) => {
          const row = await readRow(tx, modelId);
          if (row.held || row.token === token) return row;
          const taken = { epoch: row.epoch + 1, token, nodeId, migrationId, held: true };
          await prepare?.(tx, { epoch: taken.epoch, takeover: false });
          tx.set(rowKey(modelId), Buffer.from(JSON.stringify(taken)));
          return taken;
        },
        { signal },
      );
      if (found.token !== token) {
        const holder = found as LeaseExplanation;
        return { refused: true, holder, worthRetrying: (leave) => nextTurn(leave) };
      }
      const isOurs = async (tx: Transaction) => (await readRow(tx, modelId)).token === token;
      return {
        epoch: found.epoch,
        takeover: false,
        lost: new AbortController().signal,
        async guard(tx) {
          if (!(await isOurs(tx))) throw new MigrationException('LEASE_LOST', 'Somebody else has it.');
        },
        release: () =>
          database.transact(async (tx) => {
            if (!(await isOurs(tx))) return;
            tx.set(rowKey(modelId), Buffer.from(JSON.stringify({ ...found, token: '', held: false })));
          }),
      };
    },
    async explain(modelId) {
      const row = await database.transact((tx) => readRow(tx, modelId));
      return row.epoch === 0 ? undefined : row;
    },
  };
}

function nextTurn(leave: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, 20);
    leave.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
