import { median, spread } from './compare.ts';

/** One thing that was measured, several times. */
export interface Figure {
  /** The part and what it is, as `ceiling/small cheap, one thread to loop`: the name in baseline and report. */
  readonly name: string;
  /** One for each round. */
  readonly rounds: readonly number[];
  /** Of `rounds`. A ratio has none, and is what a baseline keeps: it travels between machines. */
  readonly unit?: 'ms' | undefined;
  readonly better: 'higher' | 'lower';
  readonly target?: { readonly atLeast: number } | { readonly atMost: number } | undefined;
  /** What the target looks at. Default: the median. */
  readonly judged?: 'median' | 'maximum' | undefined;
  /** Whether targets are judged by it: not where the run was too small for it. Default true. */
  readonly counts?: boolean | undefined;
}

export const print = (line = ''): void => {
  process.stdout.write(`${line}\n`);
};
export const count = (value: number): string => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
export const rate = (records: number, ms: number): string => count((records / ms) * 1_000).padStart(9);
export const megabytes = (bytes: number | null): string =>
  bytes === null ? 'unknown' : `${count(bytes / 1_000_000)} MB`;
export const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
export const milliseconds = (values: readonly number[]): string =>
  `median ${median(values).toFixed(1)} ms, maximum ${Math.max(...values).toFixed(1)} ms`;

/** The value below which that part of the values lies, 0 to 1. */
export function quantile(values: readonly number[], part: number): number {
  const ordered = values.toSorted((left, right) => left - right);
  return ordered[Math.min(ordered.length - 1, Math.floor(part * ordered.length))] ?? Number.NaN;
}

function verdict({ rounds, target, judged }: Figure): string {
  if (target === undefined) return '';
  const value = judged === 'maximum' ? Math.max(...rounds) : median(rounds);
  const isMet = 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
  return isMet ? ', met' : ', missed';
}

/** `0.93 (0.90 to 0.97), met`: the median, with the lowest and the highest. */
export function describeFigure(figure: Figure): string {
  const unit = figure.unit === undefined ? '' : ` ${figure.unit}`;
  const values = figure.rounds.every((value) => value >= 100)
    ? `${count(median(figure.rounds))} (${count(Math.min(...figure.rounds))} to ${count(Math.max(...figure.rounds))})`
    : spread(figure.rounds);
  return `${values}${unit}${figure.counts === false ? '' : verdict(figure)}`;
}

/** What one part prints, and what it measured. */
export class Section {
  readonly name: string;
  readonly figures: Figure[] = [];
  readonly lines: string[] = [];

  constructor(name: string) {
    this.name = name;
  }

  print(line = ''): void {
    this.lines.push(line);
    print(line);
  }

  /** Prints it as well. */
  figure(figure: Omit<Figure, 'name'> & { readonly name: string }): void {
    const named = { ...figure, name: `${this.name}/${figure.name}` };
    this.figures.push(named);
    const target =
      figure.target === undefined
        ? ''
        : 'atLeast' in figure.target
          ? `; target at least ${figure.target.atLeast}`
          : `; target at most ${figure.target.atMost}`;
    this.print(`  = ${figure.name}: ${describeFigure(named)}${target}`);
  }
}

/** What every part is given. */
export interface Bench {
  /** Where the compiled bench is. */
  readonly compiled: string;
  /** Empty in the beginning, and on the disk that is measured. */
  readonly scratch: string;
  readonly isQuick: boolean;
  /** `--records` and `--runs`, where they were given. */
  readonly records: number | undefined;
  readonly runs: number | undefined;
  /** For the processes of Godwit. */
  readonly nodeOptions: readonly string[];
  readonly section: Section;
}
