/**
 * How fast records are moved, against doing it by hand. All sides begin with copies of one directory, turn a string into
 * a number in each record, and add an index entry for it; all are as durable.
 * - lmdb (bench/lmdb-loop.ts): one transaction after another on LMDB's tables, through the package `lmdb`. Nobody else may
 *   have the directory open: no snapshots, no conflicts, no log.
 * - loop (bench/loop.ts): the same on the key-value port. It validates nothing, checks no ownership and no operator, and
 *   survives only its own kindest crash.
 * - one thread: an `open` whose backfill is a module, with a pool of one worker thread and otherwise the defaults: several
 *   ranges in flight, values validated, ownership, gate and intent checked in each transaction.
 * - all cores: the same with the default pool.
 *
 * A ratio is the loop's time over that of Godwit's backfill: above 1 is faster. Each is of neighbouring runs in one round.
 * CPU time is that of all threads while they moved, however many shared it: the figure to trust on a busy machine.
 */
import { Arena } from './arena.ts';
import type { ChildReport, Side } from './child.ts';
import { median } from './compare.ts';
import type { Bench, Figure } from './figures.ts';
import { count, percent, rate } from './figures.ts';
import type { PlaceSizes } from './models.ts';
import { measureWork, workVariable } from './work.ts';

/** Those that need no cluster. */
type LocalSide = Exclude<Side, 'binding'>;

const sides: readonly LocalSide[] = ['lmdb', 'loop', 'godwit-1', 'godwit'];
const nameOf: Readonly<Record<LocalSide, string>> = {
  lmdb: 'lmdb',
  loop: 'loop',
  'godwit-1': 'one thread',
  godwit: 'all cores',
};

const costlyMicros = 50;

interface Workload {
  readonly sizes: PlaceSizes;
  readonly transform: 'cheap' | 'costly';
  readonly records: { readonly full: number; readonly quick: number };
}

const workloads: readonly Workload[] = [
  { sizes: 'small', transform: 'cheap', records: { full: 150_000, quick: 20_000 } },
  // These take some seconds: starting threads, and compiling in each, takes a third of one.
  { sizes: 'small', transform: 'costly', records: { full: 120_000, quick: 10_000 } },
  { sizes: 'mixed', transform: 'cheap', records: { full: 40_000, quick: 2_000 } },
  { sizes: 'mixed', transform: 'costly', records: { full: 40_000, quick: 2_000 } },
];

/** By the name of a figure. */
const targets: Readonly<Record<string, number>> = {
  'small cheap, one thread to loop': 0.9,
  'small cheap, one thread to lmdb': 0.8,
  'small costly, all cores to loop': 1.8,
  'mixed cheap, one thread to loop': 0.9,
  'mixed cheap, one thread to lmdb': 0.8,
};

type Round = Readonly<Record<LocalSide, ChildReport>>;

export async function compareCeiling(bench: Bench): Promise<void> {
  const env = { [workVariable]: String(measureWork(costlyMicros)) };
  for (const sizes of ['small', 'mixed'] as const) {
    for (const workload of workloads.filter((one) => one.sizes === sizes)) {
      const { full, quick } = workload.records;
      const records = bench.records ?? (bench.isQuick ? quick : full);
      const arena = await Arena.create(bench.compiled, bench.scratch, records, sizes);
      await compareWorkload(bench, arena, workload, env);
      arena.remove();
    }
  }
}

async function compareWorkload(
  { section, runs = 0, isQuick, nodeOptions }: Bench,
  arena: Arena,
  { sizes, transform }: Workload,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const total = runs > 0 ? runs : isQuick ? 2 : 5;
  const size = sizes === 'small' ? '200 bytes' : '100 bytes to 50 kB';
  const cost = transform === 'cheap' ? 'a cheap transform' : `a transform of ${costlyMicros} µs`;
  section.print();
  section.print(`${count(arena.records)} records of ${size}, ${cost}, ${total} rounds; records per second`);
  section.print(
    `  run ${sides.map((side) => nameOf[side].padStart(11)).join('')}   one thread to lmdb, loop`,
  );
  const rounds: Round[] = [];
  for (let run = 1; run <= total; run += 1) {
    const reports = new Map<LocalSide, ChildReport>();
    // Whoever goes first has the colder machine: they take turns.
    for (const at of sides.keys()) {
      const side = sides[(at + run) % sides.length] as LocalSide;
      const execArgv = side === 'loop' || side === 'lmdb' ? [] : nodeOptions;
      reports.set(side, await arena.run(side, { transform, execArgv, env }));
    }
    const round = Object.fromEntries(reports) as Record<LocalSide, ChildReport>;
    if (sides.some((side) => round[side].digest !== round.loop.digest)) {
      throw new Error('the sides wrote different rows');
    }
    rounds.push(round);
    const ratioTo = (side: LocalSide) =>
      (round[side].workMs / round['godwit-1'].workMs).toFixed(2).padStart(7);
    section.print(
      `  ${String(run).padStart(3)} ${sides.map((side) => `  ${rate(arena.records, round[side].workMs)}`).join('')}` +
        `   ${ratioTo('lmdb')} ${ratioTo('loop')}`,
    );
  }
  printMedians({ section, rounds, records: arena.records });
  for (const figure of figuresOf(rounds, `${sizes} ${transform}`)) section.figure(figure);
}

function printMedians({
  section,
  rounds,
  records,
}: Pick<Bench, 'section'> & { readonly rounds: readonly Round[]; readonly records: number }): void {
  const of = (value: (round: Round) => number) => median(rounds.map(value));
  section.print(
    `  every run checked: ${count(records)} records and as many index entries, the same bytes on all sides; ` +
      `${count(of(({ loop }) => loop.recordBytes))} bytes per record, key and value`,
  );
  for (const side of sides) {
    const cpu = of((round) => round[side].workCpuMs);
    const main = of((round) => round[side].workMainCpuMs ?? Number.NaN);
    const work = of((round) => round[side].workMs);
    const rest =
      side === 'loop' || side === 'lmdb'
        ? ''
        : `; verify ${count(of((round) => round[side].verifyMs))} ms, whole open ${count(of((round) => round[side].openMs))} ms`;
    section.print(
      `  ${nameOf[side].padEnd(10)} ${rate(records, work)} records/s, median ${count(work)} ms; CPU ${count(cpu)} ms, ` +
        `${((cpu * 1_000) / records).toFixed(1)} µs a record` +
        `${Number.isNaN(main) ? '' : `, main thread ${count(main)} ms, busy ${percent(main / work)}`}${rest}`,
    );
  }
}

function figuresOf(rounds: readonly Round[], workload: string): readonly Figure[] {
  return (['godwit-1', 'godwit'] as const).flatMap((side) =>
    (['loop', 'lmdb'] as const).map((other): Figure => {
      const name = `${workload}, ${nameOf[side]} to ${other}`;
      const atLeast = targets[name];
      return {
        name,
        rounds: rounds.map((round) => round[other].workMs / round[side].workMs),
        better: 'higher',
        target: atLeast === undefined ? undefined : { atLeast },
      };
    }),
  );
}
