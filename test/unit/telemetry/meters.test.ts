import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { createMigrationMeters } from '../../../src/telemetry/meters.ts';

describe('the meters', () => {
  it('have a code only if it is one of Godwit: whatever else a handler throws is one series', async () => {
    const registry = new Registry();
    const meters = createMigrationMeters({ registry, store: 'geo', refresh: () => Promise.resolve() });
    for (const code of ['LEASE_LOST', 'ECONNRESET', 'E_17', 'toString', undefined]) {
      meters.retryScheduled('City', code);
    }
    const { values = [] } = (await registry.getSingleMetric('godwit_migration_retries_total')?.get()) ?? {};
    expect(values.map(({ labels, value }) => [labels['code'], value])).toEqual([
      ['LEASE_LOST', 1],
      ['other', 4],
    ]);
  });
});
