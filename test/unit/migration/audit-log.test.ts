import { afterAll, describe, expect, it } from 'vitest';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { limits } from '../../../src/limits.ts';
import type { MigrationAuditEvent } from '../../../src/migration/audit.ts';
import {
  hasAuditEvent,
  persistAuditEvent,
  readAuditEvents,
  trimAuditEvents,
} from '../../../src/migration/audit.ts';
import { integerOf } from '../../../src/migration/counters.ts';
import { createStoreKeys, rangeOf } from '../../../src/records/keys.ts';
import { countTransactions } from '../../rig/counting-database.ts';
import { overriding, withTransactions } from '../../rig/overriding.ts';

const memory = openMemoryDatabase();
afterAll(() => memory.close());

const event = (attempt: number): MigrationAuditEvent => ({
  timestampMs: 1,
  modelId: 1,
  modelName: 'Town',
  migrationId: 'Town:1.0->2.0#6e2c178868d8',
  type: 'Partial',
  phase: 'Backfill',
  attempt,
  message: null,
  nodeId: 'here',
  epoch: 1,
});

/** A log of its own, with `events` in it. */
async function createLog(name: string, events: number) {
  const keys = createStoreKeys(['audit log', name]).model(1);
  for (let written = 0; written < events; written += 200) {
    await memory.transact((tx) => {
      for (let ordinal = 0; ordinal < Math.min(200, events - written); ordinal += 1) {
        persistAuditEvent(tx, keys, event(written + ordinal), ordinal);
      }
      return Promise.resolve();
    });
  }
  return {
    keys,
    attempts: () =>
      memory.transact(async (tx) => (await readAuditEvents(tx, keys, 10_000)).map(({ attempt }) => attempt)),
    /** Rows that lie there, and how many are said to. */
    sizes: () =>
      memory.transact(async (tx) => {
        const { begin, end } = rangeOf(keys.audit);
        const rows = await tx.getRangeAll(begin, end);
        return [rows.length, integerOf(await tx.get(keys.auditCount))];
      }),
  };
}

describe('an audit log', () => {
  it('clears as many events as it may in one transaction, and one more in the next', async () => {
    const most = limits.store.trimmedEvents.value;
    const counting = countTransactions(memory);
    const full = await createLog('full', most + 4);
    expect(await counting.during(() => trimAuditEvents(counting, full.keys, 4))).toBe(1);
    expect(await full.sizes()).toEqual([4, 4]);
    const fuller = await createLog('fuller', most + 5);
    expect(await counting.during(() => trimAuditEvents(counting, fuller.keys, 4))).toBe(2);
    expect(await fuller.attempts()).toEqual([most + 1, most + 2, most + 3, most + 4]);
    expect(await fuller.sizes()).toEqual([4, 4]);
  });

  it('finds an event again among as many as it looks through, and not where there is one more behind it', async () => {
    const most = limits.store.searchedEvents.value;
    const { keys } = await createLog('searched', most + 1);
    const finds = (attempt: number) => memory.transact((tx) => hasAuditEvent(tx, keys, event(attempt)));
    expect(await finds(most)).toBe(true);
    expect(await finds(1)).toBe(true);
    expect(await finds(0)).toBe(false);
  });

  it('that is short enough is left alone, at the price of one read', async () => {
    const log = await createLog('short', 4);
    const before = await memory.transact((tx) => tx.getReadVersion());
    const rangeless = withTransactions(memory, (tx) =>
      overriding(tx, {
        getRangeAll() {
          throw new Error('a range is read');
        },
      }),
    );
    await trimAuditEvents(rangeless, log.keys, 4);
    expect(await log.sizes()).toEqual([4, 4]);
    expect(await memory.transact((tx) => tx.getReadVersion())).toBe(before);
  });

  it('is trimmed by several at once to what is asked, and counts no event twice', async () => {
    const log = await createLog('contended', 50);
    await Promise.all([40, 30, 20, 30, 40].map((kept) => trimAuditEvents(memory, log.keys, kept)));
    expect(await log.sizes()).toEqual([20, 20]);
    expect(await log.attempts()).toEqual(Array.from({ length: 20 }, (_, index) => 30 + index));
  });
});
