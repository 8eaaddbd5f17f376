import { beforeAll, describe, expect, it } from 'vitest';
import type { KeyValue } from '../../src/kv/kv.ts';
import { commitInTwo } from '../rig/commit-in-two.ts';
import type { RunResult, Sabotage } from '../rig/crash-matrix.ts';
import { createStoredCities, keys, runMigration } from '../rig/crash-matrix.ts';
import type { FaultKind, FaultPlan, OperationKind } from '../rig/faulty-database.ts';
import { faultsOf } from '../rig/faulty-database.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';

/** Hundreds of runs of some 40 ms each; a busy machine takes several times as long. */
const matrixTimeoutMs = 300_000;

let stored: readonly KeyValue[];
let undisturbed: RunResult;
beforeAll(async () => {
  stored = await createStoredCities();
  undisturbed = await runMigration(stored);
});

interface Part {
  /** Only operations of this kind. */
  readonly operation?: OperationKind;
  readonly sabotage?: Sabotage;
}

/** Runs with the fault at each operation that it can meet, and answers what went wrong, by the operation's number. */
async function failuresOf(
  kind: FaultKind,
  { operations }: RunResult,
  { operation: only, sabotage }: Part = {},
): Promise<string[]> {
  const failures: string[] = [];
  for (const [at, operation] of operations.entries()) {
    if (!faultsOf(operation).includes(kind) || (only ?? operation) !== operation) continue;
    const found = await problemsOf([atOnly(at, kind)], sabotage);
    if (found.length > 0) failures.push(`${kind} at ${at} (${operation}): ${found.join('; ')}`);
  }
  return failures;
}

const atOnly =
  (struck: number, kind: FaultKind): FaultPlan =>
  ({ number }) =>
    number === struck ? kind : undefined;

/** What is not as in an undisturbed run, in words. At least one fault has to come about. */
async function problemsOf(plans: readonly FaultPlan[], sabotage?: Sabotage): Promise<readonly string[]> {
  try {
    const { problems, strikes, deaths, metrics } = await runMigration(stored, plans, sabotage);
    const found = [...problems];
    if (strikes === 0) found.push('the fault never came about');
    for (const counter of ['bytesMoved', 'chunks', 'conflicts'] as const) {
      const expected = undisturbed.metrics[counter];
      if (metrics[counter] !== expected) found.push(`${counter}: ${metrics[counter]} instead of ${expected}`);
    }
    if (metrics.takeovers > deaths) found.push(`${metrics.takeovers} takeovers after ${deaths} deaths`);
    return found;
  } catch (error) {
    return [String(error)];
  }
}

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
      expect(await failuresOf(kind, undisturbed)).toEqual([]);
    },
    matrixTimeoutMs,
  );

  it.each<FaultKind>(['unknownApplied', 'unknownLost'])(
    'is exact with %s at the first commit of every transaction',
    async (fault) => {
      const plan: FaultPlan = ({ kind, attempt }) => (kind === 'commit' && attempt === 0 ? fault : undefined);
      expect(await problemsOf([plan])).toEqual([]);
    },
  );

  it(
    'is exact when those that go on die as well',
    async () => {
      const random = createSeededRandom(drawSeed('the processes that die one after another'));
      const { length } = undisturbed.operations;
      const failures: string[] = [];
      for (let round = 0; round < 30; round += 1) {
        const deaths = Array.from({ length: 4 }, () => ({
          at: random.below(length),
          kind: random.pick(faultsOf('commit')),
        }));
        // An operation that is no commit cannot have an unknown result.
        const plans = deaths.map(
          ({ at, kind: fault }): FaultPlan =>
            ({ number, kind }) =>
              number === at && faultsOf(kind).includes(fault) ? fault : undefined,
        );
        const found = await problemsOf([atOnly(random.below(length), 'crashAfter'), ...plans]);
        if (found.length > 0) failures.push(`${JSON.stringify(deaths)}: ${found.join('; ')}`);
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
      const sabotage: Sabotage = (database) => commitInTwo(database, { cursor, later });
      const calm = await runMigration(stored, [], sabotage);
      expect(calm.problems).toEqual([]);
      const failures = await failuresOf('crashAfter', calm, { operation: 'commit', sabotage });
      expect(failures.join('\n')).toMatch(finds);
    },
    matrixTimeoutMs,
  );
});
