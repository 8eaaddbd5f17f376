import { randomUUID } from 'node:crypto';
import { MigrationException } from '../../src/errors.ts';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import { FoundationDBMigrationLease } from '../../src/migration/foundationdb-lease.ts';
import { startBeats } from '../../src/migration/lease-beats.ts';
import type { LeaseExplanation, MigrationLease } from '../../src/migration/lease.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { StoreKeys } from '../../src/records/keys.ts';
import { sharedAddress } from './test-place.ts';

/** Below 5 s a cluster takes no lease. */
export const leaseTimes = {
  timeoutMs: sharedAddress === undefined ? 1_000 : 5_000,
  heartbeatMs: sharedAddress === undefined ? 50 : 250,
} as const;

/** Where leases lie that compete. */
export interface LeasePlace {
  readonly database: KeyValueDatabase;
  readonly keys: StoreKeys;
}

/** The default lease of a process of which nobody can tell whether it lives. */
export function createDefaultLease(
  { database, keys }: LeasePlace,
  process: string,
  {
    clock = systemClock,
    timeoutMs,
    heartbeatMs,
  }: { clock?: Clock; timeoutMs: number; heartbeatMs: number } = leaseTimes,
): FoundationDBMigrationLease {
  return new FoundationDBMigrationLease({
    database,
    keys,
    session: process,
    timeoutMs,
    heartbeatMs,
    startBeats,
    clock,
    random: systemRandom,
    process: {
      identity: { host: 'host', pid: 1, bootId: '', pidNamespace: '', startTime: '' },
      sessions: new Set([process]),
      isCertainlyDead: () => false,
    },
  });
}

const readRow = async (tx: Transaction, key: Buffer): Promise<LeaseExplanation & { token: string }> =>
  JSON.parse((await tx.get(key))?.toString() ?? '{"epoch":0,"token":"","held":false}') as LeaseExplanation & {
    token: string;
  };

/** A lease as an application may write one: a row that says who has it, for as long as that one wants. */
export function createRowLease({ database, keys }: LeasePlace): MigrationLease {
  const rowKey = (modelId: number) => Buffer.concat([keys.prefix, Buffer.from(`own lease/${modelId}`)]);
  return {
    acquire: async ({ modelId, migrationId, nodeId, signal, prepare }) => {
      const token = randomUUID();
      const found = await database.transact(
        async (tx) => {
          const row = await readRow(tx, rowKey(modelId));
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
      const isOurs = async (tx: Transaction) => (await readRow(tx, rowKey(modelId))).token === token;
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
      const row = await database.transact((tx) => readRow(tx, rowKey(modelId)));
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
