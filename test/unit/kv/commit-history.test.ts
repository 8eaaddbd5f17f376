import { describe, expect, it } from 'vitest';
import { CommitHistory } from '../../../src/kv/engine/commit-history.ts';
import { ConflictSet, type KeyRange } from '../../../src/kv/engine/conflict-set.ts';
import { decodeWriteSet, encodeWriteSet } from '../../../src/kv/embedded/log-codec.ts';
import { createCommittedWrites, type WriteSet } from '../../../src/kv/engine/write-set.ts';
import { createSeededRandom, drawSeed, type SeededRandom } from '../../rig/seed.ts';

interface Commit extends WriteSet {
  readonly version: number;
}

const drawKey = (random: SeededRandom) => `k${String(random.below(60)).padStart(2, '0')}`;
const drawRange = (random: SeededRandom): KeyRange => {
  const [begin = '', end = ''] = [drawKey(random), drawKey(random)].toSorted();
  return { begin, end: `${end}!` };
};
const drawWrites = (random: SeededRandom): WriteSet => ({
  keys: [...new Set(Array.from({ length: random.below(4) }, () => drawKey(random)))].toSorted(),
  ranges: random.below(10) === 0 ? [drawRange(random)] : [],
});

/** What the history has to answer, the slow way. */
function conflictsByHand(
  commits: readonly Commit[],
  keys: string[],
  ranges: KeyRange[],
  since: number,
): boolean {
  const newer = commits.filter(({ version }) => version > since);
  const isIn = (key: string, { begin, end }: KeyRange) => begin <= key && key < end;
  return newer.some(
    (commit) =>
      keys.some((key) => commit.keys.includes(key) || commit.ranges.some((range) => isIn(key, range))) ||
      ranges.some(
        (range) =>
          commit.keys.some((key) => isIn(key, range)) ||
          commit.ranges.some((other) => other.begin < range.end && range.begin < other.end),
      ),
  );
}

describe('the history of commits', () => {
  it('finds the conflicts that a comparison with each single commit finds, also where commits were merged', () => {
    const random = createSeededRandom(drawSeed('commit history'));
    const outcomes = { true: 0, false: 0 };
    for (let round = 0; round < 30; round++) {
      const history = new CommitHistory(0);
      const commits: Commit[] = [];
      const length = 1 + random.below(600);
      for (let version = 1; version <= length; version++) {
        const writes = drawWrites(random);
        commits.push({ version, ...writes });
        const isFromLog = random.below(2) === 0;
        history.add(
          isFromLog
            ? decodeWriteSet(version, encodeWriteSet(writes))
            : createCommittedWrites(version, writes),
        );
      }
      const forgotten = random.below(length);
      history.forgetThrough(forgotten);
      expect(history.completeAfter).toBe(forgotten);
      for (let question = 0; question < 50; question++) {
        const keys = Array.from({ length: random.below(3) }, () => drawKey(random));
        const ranges = random.below(3) === 0 ? [drawRange(random)] : [];
        const since = forgotten + random.below(length - forgotten + 1);
        const reads = new ConflictSet();
        for (const key of keys) reads.addKey(key);
        for (const { begin, end } of ranges) reads.addRange(begin, end);
        const expected = conflictsByHand(commits, keys, ranges, since);
        expect(history.conflicts(reads, since)).toBe(expected);
        outcomes[`${expected}`]++;
      }
    }
    expect(Math.min(outcomes.true, outcomes.false)).toBeGreaterThan(50);
  });

  it('begins anew at the version it is told', () => {
    const history = new CommitHistory(0);
    history.add(createCommittedWrites(5, { keys: ['a'], ranges: [] }));
    history.restart(9);
    const reads = new ConflictSet();
    reads.addKey('a');
    expect(history.completeAfter).toBe(9);
    expect(history.conflicts(reads, 0)).toBe(false);
  });
});

describe('a write set in the log', () => {
  it.each<WriteSet>([
    { keys: [], ranges: [] },
    { keys: ['', '\0', 'a', 'a\0', 'ab', 'b\xff'], ranges: [] },
    { keys: ['x'.repeat(1_976)], ranges: [{ begin: '', end: 'x'.repeat(1_977) }] },
    {
      keys: ['b'],
      ranges: [
        { begin: 'a', end: 'c' },
        { begin: 'z', end: '\xff' },
      ],
    },
  ])('comes back as it was: %#', (writes) => {
    const decoded = decodeWriteSet(7, encodeWriteSet(writes));
    expect({ keys: decoded.keys, ranges: decoded.ranges }).toEqual(writes);
    expect(decoded.size).toBe(writes.keys.length + writes.ranges.length);
  });
});
