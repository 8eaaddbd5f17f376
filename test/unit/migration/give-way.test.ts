import { describe, expect, it } from 'vitest';
import { createGiveWay } from '../../../src/migration/passes/give-way.ts';

const learned = { records: 2_000, perRecord: { bytes: 250, mutations: 2 } };

/** Commits that are under way until they are told how they end. */
const createCommits = () => {
  const underWay: { end(): void; fail(): void }[] = [];
  const commit = () =>
    new Promise<string>((resolve, reject) => {
      underWay.push({ end: () => resolve('written'), fail: () => reject(new Error('not written')) });
    });
  return { underWay, commit };
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('chunks', () => {
  it('are small while requests come in, and written one after another', async () => {
    const { underWay, commit } = createCommits();
    const giveWay = createGiveWay('gentle', { areComing: () => true }, { hasOneWriter: true });
    expect(giveWay.records(learned)).toBe(200);
    const written = [giveWay.write(commit), giveWay.write(commit), giveWay.write(commit)];
    const settled = Promise.allSettled(written);
    for (const end of ['end', 'fail', 'end'] as const) {
      await turn();
      expect(underWay).toHaveLength(1);
      underWay.pop()?.[end]();
    }
    expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await written[2]).toBe('written');
  });

  it('are small, and written side by side, where writers do not wait for each other', async () => {
    const { underWay, commit } = createCommits();
    const giveWay = createGiveWay('gentle', { areComing: () => true }, { hasOneWriter: false });
    expect(giveWay.records(learned)).toBe(200);
    const written = [giveWay.write(commit), giveWay.write(commit)];
    expect(underWay).toHaveLength(2);
    for (const { end } of underWay) end();
    expect(await Promise.all(written)).toEqual(['written', 'written']);
  });

  it.each([
    ['nobody asks', 'gentle', false],
    ['the pace is fast', 'fast', true],
  ] as const)('are as large as they may, and written side by side, where %s', async (_, pace, isAsked) => {
    const { underWay, commit } = createCommits();
    const giveWay = createGiveWay(pace, { areComing: () => isAsked }, { hasOneWriter: true });
    expect(giveWay.records(learned)).toBe(2_000);
    const written = [giveWay.write(commit), giveWay.write(commit)];
    expect(underWay).toHaveLength(2);
    for (const { end } of underWay) end();
    expect(await Promise.all(written)).toEqual(['written', 'written']);
  });
});
