import { beforeAll, describe, expect, it } from 'vitest';
import type { KeyValue, KeyValueDatabase } from '../../src/kv/kv.ts';
import { commitInTwo } from '../rig/commit-in-two.ts';
import type { RunResult } from '../rig/crash-matrix.ts';
import { keys, runMigration } from '../rig/crash-matrix.ts';
import type { FaultChoice } from '../rig/crash-points.ts';
import { atOnly, CrashMatrix, everyCommitFault, matrixTimeoutMs } from '../rig/crash-points.ts';
import type { FaultKind, FaultPlan } from '../rig/faulty-database.ts';
import { faultsOf } from '../rig/faulty-database.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';

/** Rounds in which processes die one after another. */
const rounds = 40;

let matrix: CrashMatrix;
let stored: readonly KeyValue[];
let undisturbed: RunResult;
let choose: FaultChoice;
beforeAll(async () => {
  matrix = await CrashMatrix.create();
  ({ stored, undisturbed } = matrix);
  choose = everyCommitFault(createSeededRandom(drawSeed('the crashes at reads')));
});

describe('a migration of 300 records', () => {
  it('goes well when nothing happens to it, in several ranges and chunks', () => {
    expect(undisturbed.problems).toEqual([]);
    expect(undisturbed.deaths).toBe(0);
    expect(undisturbed.metrics).toMatchObject({ chunks: 5, conflicts: 0, takeovers: 0 });
  });

  it('does the same operations in every run, so that their numbers mean something, and not too many', async () => {
    const { operations } = await runMigration(stored);
    expect(operations).toEqual(undisturbed.operations);
    expect(operations.length).toBeGreaterThan(300);
    expect(operations.length).toBeLessThan(600);
  });

  it.each<FaultKind>(['crashBefore', 'crashAfter', 'unknownApplied', 'unknownLost'])(
    'is exact with %s at any database operation',
    async (kind) => {
      expect(await matrix.failuresOf(kind, choose)).toEqual([]);
    },
    matrixTimeoutMs,
  );

  it.each<FaultKind>(['unknownApplied', 'unknownLost'])(
    'is exact with %s at the first commit of every transaction',
    async (fault) => {
      const plan: FaultPlan = ({ kind, attempt }) => (kind === 'commit' && attempt === 0 ? fault : undefined);
      expect(await matrix.problemsOf({ plans: [plan] })).toEqual([]);
    },
  );

  // In the Expand handler, while chunks are under way, and while they are verified.
  it.each([0.2, 0.38, 0.7])(
    'is exact when a process closes after %d of its operations, and dies while it does',
    async (share) => {
      expect(await matrix.failuresOfClosing(share, choose)).toEqual([]);
    },
    matrixTimeoutMs,
  );

  it(
    'is exact when those that go on die as well',
    async () => {
      const random = createSeededRandom(drawSeed('the processes that die one after another'));
      const { length } = undisturbed.operations;
      const failures: string[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const drawn = Array.from({ length: 5 }, () => ({
          at: random.below(length),
          kind: random.pick(faultsOf('commit')),
        }));
        // An operation that is no commit cannot have an unknown result.
        const plans = drawn.map(
          ({ at, kind: fault }): FaultPlan =>
            ({ number, kind }) =>
              number === at && faultsOf(kind).includes(fault) ? fault : undefined,
        );
        const first = random.below(length);
        const found = await matrix.problemsOf({ plans: [atOnly(first, 'crashAfter'), ...plans] });
        if (found.length === 0) continue;
        failures.push(`crashAfter at ${first}, then ${JSON.stringify(drawn)}: ${found.join('; ')}`);
      }
      expect(failures).toEqual([]);
    },
    matrixTimeoutMs,
  );
});

describe('a chunk that is committed in two transactions', () => {
  const cursor = keys.ranges('backfill');
  const data = [keys.records(1), ...[1, 3, 4].map((indexId) => keys.index(indexId))];

  it.each([
    { order: 'data first', later: [cursor], finds: /"recordsMoved":[34]\d\d/ },
    { order: 'cursor first', later: data, finds: /VERIFICATION_FAILED/ },
  ])(
    'is found by the matrix: $order',
    async ({ later, finds }) => {
      const sabotage = (database: KeyValueDatabase) => commitInTwo(database, { cursor, later });
      const { operations, problems } = await runMigration(stored, { sabotage });
      expect(problems).toEqual([]);
      const failures: string[] = [];
      for (const [at, operation] of operations.entries()) {
        if (operation !== 'commit') continue;
        failures.push(...(await matrix.problemsOf({ plans: [atOnly(at, 'crashAfter')], sabotage })));
      }
      expect(failures.join('\n')).toMatch(finds);
    },
    matrixTimeoutMs,
  );
});
