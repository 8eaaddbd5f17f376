import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { tableRows } from '../rig/readme.ts';
import { mutations } from '../traps/mutations.ts';
import type { Killer } from '../traps/patch.ts';
import { isTest } from '../traps/patch.ts';
import { traps } from '../traps/traps.ts';

const read = (path: string) => readFileSync(join(repositoryTop, path), 'utf8');
const page = read('docs/testing.md');

const noticedBy = (killer: Killer) =>
  isTest(killer)
    ? `\`${killer.testFile.slice('test/'.length)}\`: ${killer.test}`
    : `simulation, seeds 1 to ${killer.seeds}`;

describe('docs/testing.md', () => {
  it('has the mutations of the code, with what notices each', () => {
    expect(tableRows(page, 'number', 'mutation', 'what notices it')).toEqual(
      mutations.map(({ number, mutation, killer }) => [String(number), mutation, noticedBy(killer)]),
    );
  });

  it('has the traps of the design, with the test of each', () => {
    expect(tableRows(page, 'trap', 'without its cure', 'what notices it')).toEqual(
      traps.map(({ number, without, ...test }) => [String(number), without, noticedBy(test)]),
    );
  });

  it('has no mutation twice', () => {
    const patches = mutations.map(({ replacements }) => JSON.stringify(replacements));
    expect(new Set(patches).size).toBe(mutations.length);
  });

  it('has mutations and traps that fit the code', () => {
    const unfit = [...mutations, ...traps].flatMap(({ replacements }) =>
      replacements
        .filter(({ file, find }) => read(file).split(find).length !== 2)
        .map(({ file, find }) => `${file}: ${find}`),
    );
    expect(unfit).toEqual([]);
  });

  it('names tests for what the simulation has found', () => {
    const found = tableRows(page, 'what the simulation has found', 'where it is kept from coming back');
    expect(found.length).toBeGreaterThan(0);
    for (const [, where = ''] of found) {
      const [, file = '', title = ''] = /^`([^`]+)`: (.+)$/.exec(where) ?? [];
      expect(read(`test/${file}`)).toContain(`'${title}'`);
    }
  });

  it('names npm scripts that there are', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Readonly<Record<string, string>> };
    const named = [...page.matchAll(/npm (?:run ([\w:-]+)|(test))/g)].map(
      ([, script, test]) => script ?? test,
    );
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((name) => name === undefined || scripts[name] === undefined)).toEqual([]);
  });
});
