import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../../.scripts/architecture.ts';
import { compareWithBaseline, withFigures } from '../../../bench/baseline.ts';
import type { Figure } from '../../../bench/figures.ts';
import { Section } from '../../../bench/figures.ts';
import { fillReport } from '../../../bench/report.ts';

const figure = (name: string, rounds: readonly number[], more: Partial<Figure> = {}): Figure => ({
  name,
  rounds,
  better: 'higher',
  ...more,
});
const machine = 'a machine';
const verdicts = (before: readonly Figure[], now: readonly Figure[]) =>
  compareWithBaseline(withFigures({}, 'full', { machine, figures: before }).full, now).map(
    ({ verdict }) => verdict,
  );

describe('the baseline of the bench', () => {
  it('takes what lies within the spread of the rounds as the same, and nothing beyond it', () => {
    const before = [figure('a', [0.8, 1, 1.3])];
    expect(verdicts(before, [figure('a', [0.71])])).toEqual(['same']);
    expect(verdicts(before, [figure('a', [0.69])])).toEqual(['worse']);
    expect(verdicts(before, [figure('a', [1.31])])).toEqual(['better']);
  });

  it('allows a tenth where the rounds agreed', () => {
    expect(verdicts([figure('a', [2])], [figure('a', [1.81])])).toEqual(['same']);
    expect(verdicts([figure('a', [2])], [figure('a', [1.79])])).toEqual(['worse']);
  });

  it('knows which way is better', () => {
    const lower = { better: 'lower' } as const;
    expect(verdicts([figure('a', [1], lower)], [figure('a', [2], lower)])).toEqual(['worse']);
    expect(verdicts([figure('a', [1], lower)], [figure('a', [0.5], lower)])).toEqual(['better']);
  });

  it('tells what is measured for the first time, and keeps no times', () => {
    expect(verdicts([], [figure('a', [1])])).toEqual(['new']);
    expect(verdicts([], [figure('a', [1], { unit: 'ms' })])).toEqual([]);
  });

  it('keeps what a later run does not speak of, and runs of the other kind', () => {
    const first = withFigures({}, 'full', { machine, figures: [figure('a', [1])] });
    const second = withFigures(first, 'full', { machine, figures: [figure('b', [2])] });
    const third = withFigures(second, 'quick', { machine, figures: [figure('a', [3])] });
    expect(Object.keys(third.full?.ratios ?? {})).toEqual(['a', 'b']);
    expect(third.full?.ratios['a']?.ratio).toBe(1);
    expect(third.quick?.ratios['a']?.ratio).toBe(3);
  });
});

describe('the report of the bench', () => {
  const head = { command: 'npm run bench', machine };
  const page = readFileSync(join(repositoryTop, 'docs/performance.md'), 'utf8');

  it('puts output and figures into their places, again and again', () => {
    const section = new Section('eta');
    section.lines.push('a line of the output');
    section.figures.push(
      figure('eta/error of the told time, worst quarter, uniform', [0.1], {
        better: 'lower',
        target: { atMost: 0.15 },
      }),
    );
    const filled = fillReport(page, [section], head);
    expect(filled).toContain('```text\n$ npm run bench\na machine\na line of the output\n```');
    expect(filled).toContain('worst quarter, uniform --> 0.10 (0.10 to 0.10), met <!-- end -->');
    expect(fillReport(filled, [section], head)).toBe(filled);
  });

  it('refuses a figure with a target that the page has no place for', () => {
    const section = new Section('eta');
    section.figures.push(figure('eta/unheard of', [1], { target: { atLeast: 1 } }));
    expect(() => fillReport(page, [section], head)).toThrow("no '<!-- figure eta/unheard of -->'");
  });
});
