/**
 * Whether a backfill takes time in proportion to its records, and memory that does not grow with them. Every chunk is told
 * when it is committed; the rate of each tenth is that of the records between two commits, drawn through where a tenth
 * ends. The loop on the same records stands beside it: an index whose entries are spread grows slower on any LMDB.
 *
 * `peak RSS` is that of the process with all its threads during a whole migration. LMDB maps its file into memory, and
 * mapped pages count as resident until somebody else needs the memory, so they grow with the file: `anonymous` is the
 * rest, which is what a process needs.
 */
import { Arena } from './arena.ts';
import type { ChildReport, Sample } from './child.ts';
import type { Bench } from './figures.ts';
import { count, megabytes } from './figures.ts';

const smallRecords = 100_000;
const tenths = 10;

export async function measureScale({
  compiled,
  scratch,
  section,
  records,
  runs = 1,
  isQuick,
}: Bench): Promise<void> {
  const many = records ?? (isQuick ? 200_000 : 1_000_000);
  const few = many > smallRecords ? smallRecords : Math.ceil(many / 10);
  const counts = many >= 1_000_000;
  const memory: { few: ChildReport; many: ChildReport; loop: ChildReport }[] = [];
  const [small, large] = [
    await Arena.create(compiled, scratch, few),
    await Arena.create(compiled, scratch, many),
  ];
  section.print();
  section.print(`${count(many)} records of 200 bytes, a cheap transform, all cores; ${runs} rounds`);
  for (let run = 0; run < runs; run += 1) {
    memory.push({
      few: await small.run('godwit'),
      many: await large.run('godwit', { isSampled: true }),
      loop: await large.run('loop', { isSampled: true }),
    });
  }
  small.remove();
  large.remove();
  section.print('  records per second in each tenth');
  for (const round of memory) {
    for (const side of ['many', 'loop'] as const) {
      const rates = ratesOf(round[side].samples, many).map((value) => count(value).padStart(9));
      section.print(`  ${side === 'many' ? 'godwit' : 'loop  '} ${rates.join('')}`);
    }
    for (const side of ['few', 'many'] as const) {
      const { peakRssBytes, peakAnonymousBytes } = round[side];
      const size = count(side === 'few' ? few : many).padStart(9);
      section.print(
        `  ${size} records: peak RSS ${megabytes(peakRssBytes)}, anonymous ${megabytes(peakAnonymousBytes)}`,
      );
    }
  }
  const lastToFirst = (samples: readonly Sample[]) => {
    const rates = ratesOf(samples, many);
    return (rates.at(-1) ?? Number.NaN) / (rates[0] ?? Number.NaN);
  };
  section.figure({
    name: 'rate in the last tenth to the first',
    rounds: memory.map((round) => lastToFirst(round.many.samples)),
    better: 'higher',
    target: { atLeast: 0.9 },
    counts,
  });
  section.figure({
    name: 'the same of the loop',
    rounds: memory.map((round) => lastToFirst(round.loop.samples)),
    better: 'higher',
  });
  section.figure({
    name: `peak RSS to that at ${count(few)}`,
    rounds: memory.map((round) => round.many.peakRssBytes / round.few.peakRssBytes),
    better: 'lower',
    target: { atMost: 1.3 },
    counts,
  });
  section.figure({
    name: `peak anonymous memory to that at ${count(few)}`,
    rounds: memory.map(
      (round) => (round.many.peakAnonymousBytes ?? Number.NaN) / (round.few.peakAnonymousBytes ?? Number.NaN),
    ),
    better: 'lower',
    target: { atMost: 1.3 },
    counts,
  });
}

/** When that many were moved: on the line between the commits before and behind it. */
function momentOf(samples: readonly Sample[], records: number): number {
  let before: Sample = { ms: 0, records: 0 };
  for (const sample of samples) {
    if (sample.records >= records) {
      const part = (records - before.records) / Math.max(1, sample.records - before.records);
      return before.ms + part * (sample.ms - before.ms);
    }
    before = sample;
  }
  throw new Error(`${before.records} records were moved instead of ${records}`);
}

function ratesOf(samples: readonly Sample[], records: number): readonly number[] {
  return Array.from({ length: tenths }, (_, at) => {
    const [from, to] = [(records / tenths) * at, (records / tenths) * (at + 1)];
    const ms = momentOf(samples, to) - momentOf(samples, from);
    return ((to - from) / ms) * 1_000;
  });
}
