import { describe, expect, it } from 'vitest';
import {
  formatBar,
  formatCount,
  formatDuration,
  formatPercent,
  formatTable,
  plain,
} from '../../../src/cli/format.ts';
import { paintFor } from '../../../src/cli/output.ts';
import { createChangeFilter, createProgressView, wholeKey } from '../../../src/cli/progress-view.ts';
import { statusDetails, statusLine, statusTable } from '../../../src/cli/status-text.ts';
import type { MigrationStatus } from '../../../src/migration/status.ts';

const noPaint = paintFor({ write: () => undefined }, {}, true);

const idle: MigrationStatus = {
  modelId: 2,
  modelName: 'Region',
  migrationId: null,
  state: 'Idle',
  phase: null,
  attempt: 0,
  lastError: null,
  hasCursor: false,
  retryCount: 0,
  etaMs: null,
  blocking: false,
  message: null,
  progress: { recordsDone: 0, recordsEstimated: null, fraction: null, recordsPerSecond: 0 },
  owner: null,
  movers: [],
  intentRevision: 0,
  bus: null,
};
const running: MigrationStatus = {
  ...idle,
  modelId: 1,
  modelName: 'Town',
  migrationId: 'Town:1.0->2.0#0123456789ab',
  state: 'Running',
  phase: 'Backfill',
  attempt: 1,
  blocking: true,
  etaMs: 83_000,
  progress: { recordsDone: 12_345, recordsEstimated: 48_000, fraction: 0.257, recordsPerSecond: 430.6 },
  owner: { nodeId: 'node-a', epoch: 3 },
  movers: [
    { nodeId: 'node-a', ranges: 4, recordsPerSecond: 300 },
    { nodeId: 'node-b', ranges: 1, recordsPerSecond: 130.6 },
  ],
};
const paused: MigrationStatus = {
  ...running,
  state: 'Paused',
  message: 'peak hours',
  owner: null,
  movers: [],
  etaMs: null,
};

describe('what is written of a status', () => {
  it.each([
    [0, '0 s'],
    [400, '0 s'],
    [59_400, '59 s'],
    [60_000, '1 min'],
    [83_000, '1 min 23 s'],
    [3_600_000, '1 h'],
    [5_400_000, '1 h 30 min'],
    [172_800_000, '2 d'],
    [180_000_000, '2 d 2 h'],
  ])('%i ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it('counts have commas, shares are rounded down, bars are as full as that', () => {
    expect([0, 999, 1_000, 1_234_567.4].map(formatCount)).toEqual(['0', '999', '1,000', '1,234,567']);
    expect([0, 0.999_999, 1].map(formatPercent)).toEqual(['0 %', '99 %', '100 %']);
    expect([null, 0, 0.5, 0.999, 1, 7].map((fraction) => formatBar(fraction, 4))).toEqual([
      '[????]',
      '[....]',
      '[##..]',
      '[###.]',
      '[####]',
      '[####]',
    ]);
  });

  it('columns are as wide as what is in them', () => {
    expect(
      formatTable([
        ['a', 'bb'],
        ['ccc', 'd', ''],
      ]),
    ).toBe('a    bb\nccc  d');
  });

  it('control characters of others do not reach the terminal', () => {
    expect(plain('a\u001b[2Jb\r\nc\u009bd')).toBe('a [2Jb c d');
    expect(statusLine({ ...paused, message: 'x\u001b]0;y\u0007' }, 4)).toMatch(/ {2}x \]0;y$/);
  });

  it('a line has a bar while something is under way, and ends with the reason', () => {
    expect(statusLine(running, 6)).toBe(
      'Town    Running   Backfill  [#####...............]   25 %  12,345 of about 48,000 records  431/s  ' +
        'ETA 1 min 23 s  node-a and 1 other node',
    );
    expect(statusLine(paused, 4)).toBe(
      'Town  Paused    Backfill  [#####...............]   25 %  12,345 of about 48,000 records  431/s  peak hours',
    );
    expect(statusLine(idle, 6)).toBe('Region  Idle');
  });

  it('a table has all models, the details all of one', () => {
    expect(statusTable([running, idle])).toBe(
      [
        'ID  MODEL   STATE    PHASE     DONE  RATE   ETA         OWNER                    REASON',
        '1   Town    Running  Backfill  25 %  431/s  1 min 23 s  node-a and 1 other node',
        '2   Region  Idle     -         -     -      -           -',
      ].join('\n'),
    );
    expect(statusDetails(running, noPaint).split('\n')).toEqual([
      'model:             Town (1)',
      'state:             Running',
      'requests:          refused, or will be until it is published',
      'migration:         Town:1.0->2.0#0123456789ab',
      'phase:             Backfill',
      'progress:          25 %, 12,345 of about 48,000 records, 431/s',
      'ETA of the phase:  1 min 23 s',
      'owner:             node-a, epoch 3',
      'mover:             node-a: 4 ranges, 300/s',
      'mover:             node-b: 1 range, 131/s',
      'attempt:           1',
    ]);
  });
});

/** Writes down what a terminal, or none, is sent. */
function sinkOf(isTTY: boolean, columns = 200, rows = 24) {
  const written: string[] = [];
  return { written, isTTY, columns, rows, write: (text: string) => written.push(text) };
}

describe('the view of what is under way', () => {
  it('without a terminal, tells each change in a line, and a share by twentieths', () => {
    const sink = sinkOf(false);
    const view = createProgressView(sink, noPaint);
    const at = (fraction: number) => ({ ...running, progress: { ...running.progress, fraction } });
    for (const status of [at(0.01), at(0.02), at(0.049), at(0.051), at(0.051), paused])
      view.show([status, idle]);
    expect(sink.written.map((line) => line.slice(0, 50))).toEqual([
      expect.stringMatching(/^Town .*\[\.{20}\]/),
      'Region  Idle\n',
      expect.stringMatching(/^Town .*\[#\.{19}\]/),
      expect.stringMatching(/^Town +Paused/),
    ]);
  });

  it('on a terminal, draws over what it has drawn, and no line wraps', () => {
    const sink = sinkOf(true, 40);
    const view = createProgressView(sink, noPaint);
    view.show([running, idle]);
    const first = sink.written.join('');
    expect(first).not.toContain('\u001b[2A');
    view.show([running, idle]);
    expect(sink.written.join('')).toBe(first);
    view.show([paused, idle]);
    expect(sink.written.join('').slice(first.length)).toContain('\u001b[2A\u001b[0JTown');
    const lines = sink.written.filter((text) => text.includes('Town')).flatMap((text) => text.split('\n'));
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(40);
  });

  it('on a terminal with few lines, says how many it leaves out', () => {
    const sink = sinkOf(true, 40, 4);
    createProgressView(sink, noPaint).show([1, 2, 3, 4, 5].map((modelId) => ({ ...idle, modelId })));
    expect(sink.written.join('').match(/Region/g)).toHaveLength(2);
    expect(sink.written.join('')).toContain('and 3 more\n');
  });

  it('passes a status on as JSON when anything but the time has changed', () => {
    const changed = createChangeFilter(wholeKey);
    const waiting = (sinceMs: number): MigrationStatus => ({
      ...running,
      state: 'Waiting',
      reason: { code: 'lease', message: 'no node has begun', sinceMs },
    });
    expect([waiting(1), waiting(2), running, running, idle].map((one) => changed([one]).length)).toEqual([
      1, 0, 1, 0, 1,
    ]);
  });

  it('is coloured on a terminal, where nobody has asked for none', () => {
    const terminal = sinkOf(true);
    expect(paintFor(terminal, {}, true)('red', 'x')).toBe('\u001b[31mx\u001b[39m');
    expect(paintFor(terminal, {}, false)('red', 'x')).toBe('x');
    expect(paintFor(terminal, { NO_COLOR: '1' }, true)('red', 'x')).toBe('x');
    expect(paintFor(terminal, { NO_COLOR: '' }, true)('red', 'x')).not.toBe('x');
    expect(paintFor(sinkOf(false), {}, true)('red', 'x')).toBe('x');
  });
});
