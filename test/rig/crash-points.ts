import { deepStrictEqual as requireEqual, ok } from 'node:assert';
import type { KeyValue } from '../../src/kv/kv.ts';
import type { RunOptions, RunResult } from './crash-matrix.ts';
import { createStoredCities, runMigration } from './crash-matrix.ts';
import type { FaultKind, FaultPlan, OperationKind } from './faulty-database.ts';
import { faultsOf } from './faulty-database.ts';
import type { SeededRandom } from './seed.ts';

/** Hundreds of runs of some 30 ms each; a busy machine takes several times as long. */
export const matrixTimeoutMs = 300_000;

export const atOnly =
  (struck: number, kind: FaultKind): FaultPlan =>
  ({ number }) =>
    number === struck ? kind : undefined;

/** Which of the faults that an operation can meet are tried at it. */
export type FaultChoice = (number: number, operation: OperationKind) => readonly FaultKind[];

/** All of them. */
export const everyFault: FaultChoice = (_, operation) => faultsOf(operation);

/**
 * All of them at a commit, one of them at every fourth read: it changes nothing, so the database is the same whether the
 * process dies before or after it. Only what other operations under way have reached meanwhile may differ.
 */
export function everyCommitFault(random: SeededRandom): FaultChoice {
  const drawn = new Map<number, readonly FaultKind[]>();
  return (number, operation) => {
    if (operation === 'commit') return faultsOf(operation);
    const faults = drawn.get(number) ?? (random.below(4) > 0 ? [] : [random.pick(faultsOf(operation))]);
    drawn.set(number, faults);
    return faults;
  };
}

/** The same migration, run again and again, and compared with one that nothing happened to. */
export class CrashMatrix {
  readonly stored: readonly KeyValue[];
  readonly undisturbed: RunResult;

  private constructor(stored: readonly KeyValue[], undisturbed: RunResult) {
    this.stored = stored;
    this.undisturbed = undisturbed;
  }

  static async create(): Promise<CrashMatrix> {
    const stored = await createStoredCities();
    return new CrashMatrix(stored, await runMigration(stored));
  }

  /** What is not as in an undisturbed run, in words. At least one fault has to come about. */
  async problemsOf(options: RunOptions): Promise<readonly string[]> {
    try {
      const { problems, strikes, deaths, metrics } = await runMigration(this.stored, options);
      const found = [...problems];
      if (strikes === 0) found.push('the fault never came about');
      for (const counter of ['bytesMoved', 'chunks', 'conflicts'] as const) {
        const expected = this.undisturbed.metrics[counter];
        if (metrics[counter] !== expected)
          found.push(`${counter}: ${metrics[counter]} instead of ${expected}`);
      }
      if (metrics.takeovers > deaths) found.push(`${metrics.takeovers} takeovers after ${deaths} deaths`);
      return found;
    } catch (error) {
      return [String(error)];
    }
  }

  /** Runs with the fault at each operation that is to meet it, and answers what went wrong, by the operation's number. */
  async failuresOf(kind: FaultKind, choose: FaultChoice): Promise<string[]> {
    const failures: string[] = [];
    for (const [at, operation] of this.undisturbed.operations.entries()) {
      if (!choose(at, operation).includes(kind)) continue;
      const found = await this.problemsOf({ plans: [atOnly(at, kind)] });
      if (found.length > 0) failures.push(`${kind} at ${at} (${operation}): ${found.join('; ')}`);
    }
    return failures;
  }

  /** The same for a process that closes once it has done a share of its operations, and dies while it does. */
  async failuresOfClosing(share: number, choose: FaultChoice): Promise<string[]> {
    const last = Math.floor(this.undisturbed.operations.length * share);
    const closing = (then: FaultPlan): RunOptions => {
      const stop = new AbortController();
      const plan: FaultPlan = (operation) => {
        if (operation.number === last) stop.abort();
        return then(operation);
      };
      return { plans: [plan], stop: stop.signal };
    };
    const calm = await runMigration(
      this.stored,
      closing(() => undefined),
    );
    requireEqual(calm.problems, []);
    requireEqual([calm.deaths, calm.metrics.takeovers], [0, 0]);
    ok(calm.operations.length < this.undisturbed.operations.length);
    const failures: string[] = [];
    for (let at = last; at < calm.operations.length; at += 1) {
      for (const kind of choose(at, calm.operations[at] ?? 'get')) {
        const found = await this.problemsOf(closing(atOnly(at, kind)));
        if (found.length > 0) failures.push(`${kind} at ${at}: ${found.join('; ')}`);
      }
    }
    return failures;
  }
}
