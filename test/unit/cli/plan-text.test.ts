import { describe, expect, it } from 'vitest';
import { formatBytes } from '../../../src/cli/format.ts';
import { planText } from '../../../src/cli/plan-text.ts';
import type { MigrationPlanReport, ModelPlanReport } from '../../../src/store/plan/report.ts';

const untouched: ModelPlanReport = {
  modelId: 1,
  modelName: 'Region',
  storedVersion: '1.0',
  configuredVersion: '1.0',
  action: 'none',
  migrationId: null,
  reasons: [],
  steps: [],
  blocking: false,
  waitsFor: [],
  estimate: null,
  verification: null,
  status: null,
  sample: null,
};
const reasons = [
  { code: 'type', property: 'latitude', message: 'latitude: is of type float64 now' },
] as const;
const migrated: ModelPlanReport = {
  ...untouched,
  modelId: 2,
  modelName: 'Town',
  configuredVersion: '3.0',
  action: 'migrate',
  reasons,
  blocking: true,
  waitsFor: ['Region'],
  estimate: { records: 12_345, bytes: 2_345_678, isEstimate: true },
  verification: { sampleRatio: 0.1, seed: 0, hasCheck: true },
  steps: [
    {
      action: 'migrate',
      from: '1.0',
      to: '3.0',
      composedOf: ['1.0', '2.0', '3.0'],
      migrationId: 'Town:1.0->3.0#0',
      reasons,
      changes: [],
      handlers: { expand: null, backfill: 'transform', verify: null, contract: 'function' },
      indexes: [{ name: 'byLatitude', work: 'fill' }],
    },
  ],
  sample: {
    to: '3.0',
    asked: 100,
    sampled: 100,
    seed: 0,
    moved: 97,
    dropped: 0,
    unchanged: 0,
    failed: 3,
    failures: [
      { code: 'TRANSFORM_FAILED', reason: 'threw a TypeError', example: null, count: 2, keys: ['02', '03'] },
    ],
    otherFailures: 1,
    microsPerRecord: 11.2,
    duration: { milliseconds: 83_000, threads: 2, isEstimate: true },
    shown: [{ key: '02', outcome: 'moved', before: { lat: '1\u001b[2J' }, after: { latitude: 1 } }],
  },
};
const report: MigrationPlanReport = {
  engine: 'embedded',
  isNew: false,
  models: [untouched, migrated],
  problems: [{ code: 'TRANSFORM_INVALID', message: 'it does not load', modelId: 2, modelName: 'Town' }],
};

describe('a plan in words', () => {
  it('has what happens and why, what is in the way, and nothing that steers a terminal', () => {
    expect(planText(report, (_style, text) => text).split('\n')).toEqual([
      'Region 1.0: nothing to do',
      'Town 1.0 -> 3.0: is migrated',
      '  because latitude: is of type float64 now',
      '  requests to it are refused from its beginning to its publication',
      '  waits for Region',
      '  about 12,345 records, 2.3 MB',
      '  migrate 1.0 -> 2.0 -> 3.0: backfill by a transform, contract by a function, index byLatitude (fill)',
      '  verified before it is published: 0.1 of the records, drawn, with the check of the program',
      '  sample of 100 records to 3.0: 97 moved, 3 failed; 12 µs a record, about 1 min 23 s for all on 2 threads',
      '    2 TRANSFORM_FAILED: threw a TypeError; keys 02, 03',
      '    1 for other reasons',
      '    02 moved',
      '      before {"lat":"1\\u001b[2J"}',
      '      after  {"latitude":1}',
      'problem Town: TRANSFORM_INVALID: it does not load',
      'A store would not be opened with this.',
    ]);
  });

  it('has sizes in the largest unit of which there is one', () => {
    expect([0, 999, 1_000, 22_345, 2_300_000, 5e12].map(formatBytes)).toEqual([
      '0 B',
      '999 B',
      '1.0 kB',
      '22 kB',
      '2.3 MB',
      '5.0 TB',
    ]);
  });
});
