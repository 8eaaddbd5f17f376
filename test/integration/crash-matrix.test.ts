import { beforeAll, describe, expect, it } from 'vitest';
import type { KeyValue, KeyValueDatabase } from '../../src/kv/kv.ts';
import { commitInTwo } from '../rig/commit-in-two.ts';
import type { RunOptions, RunResult } from '../rig/crash-matrix.ts';
import { createStoredCities, keys, runMigration } from '../rig/crash-matrix.ts';
import type { FaultKind, FaultPlan, OperationKind } from '../rig/faulty-database.ts';
import { faultsOf } from '../rig/faulty-database.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';

/** Hundreds of runs of some 30 ms each; a busy machine takes several times as long. */
const matrixTimeoutMs = 300_000;
/** Rounds in which processes die one after another. */
const rounds = 40;

let stored: readonly KeyValue[];
let undisturbed: RunResult;
beforeAll(async () => {
  stored = await createStoredCities();
  undisturbed = await runMigration(stored);
});

/** Runs with the fault at each operation that it can meet, and answers what went wrong, by the operation's number. */
async function failuresOf(kind: FaultKind, operations: readonly OperationKind[]): Promise<string[]> {
  const failures: string[] = [];
  for (const [at, operation] of operations.entries()) {
    if (!faultsOf(operation).includes(kind)) continue;
    const found = await problemsOf({ plans: [atOnly(at, kind)] });
    if (found.length > 0) failures.push(`${kind} at ${at} (${operation}): ${found.join('; ')}`);
  }
  return failures;
}

const atOnly =
  (struck: number, kind: FaultKind): FaultPlan =>
  ({ number }) =>
    number === struck ? kind : undefined;

/** What is not as in an undisturbed run, in words. At least one fault has to come about. */
async function problemsOf(options: RunOptions): Promise<readonly string[]> {
  try {
    const { problems, strikes, deaths, metrics } = await runMigration(stored, options);
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
      expect(await failuresOf(kind, undisturbed.operations)).toEqual([]);
    },
    matrixTimeoutMs,
  );

  it.each<FaultKind>(['unknownApplied', 'unknownLost'])(
    'is exact with %s at the first commit of every transaction',
    async (fault) => {
      const plan: FaultPlan = ({ kind, attempt }) => (kind === 'commit' && attempt === 0 ? fault : undefined);
      expect(await problemsOf({ plans: [plan] })).toEqual([]);
    },
  );

  // In the Expand handler, while chunks are under way, and while they are verified.
  it.each([0.2, 0.38, 0.7])(
    'is exact when a process closes after %d of its operations, and dies while it does',
    async (share) => {
      const last = Math.floor(undisturbed.operations.length * share);
      const closing = (then: FaultPlan): RunOptions => {
        const stop = new AbortController();
        const plan: FaultPlan = (operation) => {
          if (operation.number === last) stop.abort();
          return then(operation);
        };
        return { plans: [plan], stop: stop.signal };
      };
      const calm = await runMigration(
        stored,
        closing(() => undefined),
      );
      expect(calm).toMatchObject({ problems: [], deaths: 0, metrics: { takeovers: 0 } });
      expect(calm.operations.length).toBeLessThan(undisturbed.operations.length);
      const failures: string[] = [];
      for (let at = last; at < calm.operations.length; at += 1) {
        for (const kind of faultsOf(calm.operations[at] ?? 'get')) {
          const found = await problemsOf(closing(atOnly(at, kind)));
          if (found.length > 0) failures.push(`${kind} at ${at}: ${found.join('; ')}`);
        }
      }
      expect(failures).toEqual([]);
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
        const found = await problemsOf({ plans: [atOnly(first, 'crashAfter'), ...plans] });
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
        failures.push(...(await problemsOf({ plans: [atOnly(at, 'crashAfter')], sabotage })));
      }
      expect(failures.join('\n')).toMatch(finds);
    },
    matrixTimeoutMs,
  );
});
