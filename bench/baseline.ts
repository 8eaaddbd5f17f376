import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { median } from './compare.ts';
import type { Figure } from './figures.ts';

/** What a ratio was, and how far from it another run may be without having changed anything. */
export interface KnownRatio {
  readonly ratio: number;
  readonly spread: number;
  readonly better: Figure['better'];
}

export interface KnownRun {
  readonly machine: string;
  readonly ratios: Readonly<Record<string, KnownRatio>>;
}

/** Short runs have ratios of their own. */
export type RunKind = 'full' | 'quick';
export type Baseline = Readonly<Partial<Record<RunKind, KnownRun>>>;

export interface Comparison {
  readonly name: string;
  readonly ratio: number;
  /** Nothing: it is measured for the first time. */
  readonly known: KnownRatio | undefined;
  readonly verdict: 'same' | 'better' | 'worse' | 'new';
}

/** What a ratio is allowed at least, as a part of it: two runs of the same on a quiet machine. */
const leastSpread = 0.1;

/** Times stay where they were measured; ratios travel. */
const ratiosOf = (figures: readonly Figure[]) =>
  figures.filter(({ unit, rounds }) => unit === undefined && Number.isFinite(median(rounds)));

export function compareWithBaseline(
  known: KnownRun | undefined,
  figures: readonly Figure[],
): readonly Comparison[] {
  return ratiosOf(figures).map(({ name, rounds }) => {
    const ratio = median(rounds);
    const before = known?.ratios[name];
    return { name, ratio, known: before, verdict: verdictOf(ratio, before) };
  });
}

function verdictOf(ratio: number, known: KnownRatio | undefined): Comparison['verdict'] {
  if (known === undefined) return 'new';
  if (Math.abs(ratio - known.ratio) <= known.spread) return 'same';
  return ratio > known.ratio === (known.better === 'higher') ? 'better' : 'worse';
}

/** The same baseline with what these figures say; what they do not speak of stays. */
export function withFigures(
  baseline: Baseline,
  kind: RunKind,
  { machine, figures }: { readonly machine: string; readonly figures: readonly Figure[] },
): Baseline {
  const ratios = ratiosOf(figures).map(({ name, rounds, better }): [string, KnownRatio] => {
    const ratio = median(rounds);
    const farthest = Math.max(...rounds.map((round) => Math.abs(round - ratio)));
    return [
      name,
      { ratio: rounded(ratio), spread: rounded(Math.max(farthest, leastSpread * ratio)), better },
    ];
  });
  const all = { ...baseline[kind]?.ratios, ...Object.fromEntries(ratios) };
  const ordered = Object.entries(all).toSorted(([left], [right]) => (left < right ? -1 : 1));
  return { ...baseline, [kind]: { machine, ratios: Object.fromEntries(ordered) } };
}

const rounded = (value: number) => Number(value.toPrecision(3));

export function readBaseline(file: string): Baseline {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Baseline) : {};
}

export function writeBaseline(file: string, baseline: Baseline): void {
  writeFileSync(file, `${JSON.stringify(baseline, null, 2)}\n`);
}

/** A line for each, those that need a look first. */
export function describeComparisons(comparisons: readonly Comparison[]): readonly string[] {
  const order = ['worse', 'better', 'same', 'new'] as const;
  return order.flatMap((verdict) =>
    comparisons
      .filter((one) => one.verdict === verdict)
      .map(({ name, ratio, known }) => {
        const before = known === undefined ? 'no baseline' : `was ${known.ratio}, within ${known.spread}`;
        return `  ${verdict.padEnd(6)} ${ratio.toFixed(2).padStart(7)}  ${before.padEnd(28)} ${name}`;
      }),
  );
}
