/**
 * Small things, side by side in one process: `get`, `put` and `scan` of a store against the key-value port without it, and
 * the codec of records against msgpackr. Both sides take turns, and every result is checked. A ratio is the bare side's
 * time over Godwit's.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Comparison } from './compare.ts';
import { median } from './compare.ts';
import type { Bench, Section } from './figures.ts';
import { rate } from './figures.ts';
import { runChild } from './run-child.ts';
import type { SideBySideReport, SideBySideTask } from './side-by-side-child.ts';

export async function compareSmallThings({
  compiled,
  scratch,
  section,
  runs,
  isQuick,
}: Bench): Promise<void> {
  const task: SideBySideTask = {
    directory: join(scratch, 'side-by-side'),
    rounds: runs ?? (isQuick ? 5 : 20),
  };
  mkdirSync(task.directory);
  const file = join(compiled, 'side-by-side-child.js');
  const { requests, codec } = await runChild<SideBySideReport>(file, task);
  printComparisons(section, ['the store', 'the bare port'], requests);
  printComparisons(section, ['the codec', 'bare msgpackr'], codec);
}

/** For each of them a line, and its ratio as a figure. */
export function printComparisons(
  section: Section,
  [ours, bare]: readonly [string, string],
  comparisons: readonly Comparison[],
  targets: Readonly<Record<string, { readonly atLeast: number }>> = {},
): void {
  section.print();
  section.print(`${ours} and ${bare}; operations per second`);
  for (const { name, operations, rounds } of comparisons) {
    const [left, right] = [
      median(rounds.map((round) => round.ours)),
      median(rounds.map((round) => round.bare)),
    ];
    section.print(`  ${name.padEnd(30)} ${rate(operations, left)}  ${rate(operations, right)}`);
    section.figure({
      name: `${name}, ${ours} to ${bare}`,
      rounds: rounds.map((round) => round.bare / round.ours),
      better: 'higher',
      target: targets[name],
    });
  }
}
