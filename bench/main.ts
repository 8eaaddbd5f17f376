/**
 * `npm run bench [-- --quick --only <part> --records 200000 --runs 5]`: what it costs to let Godwit move records, against
 * doing it by hand, and what it promises of its speed. Each part says in its file what it measures, and how.
 *
 * - `ceiling`: records per second against hand-written loops, with transforms that cost nothing and 50 µs, of records of
 *   200 bytes and of 100 bytes to 50 kB.
 * - `foundationdb`: the same on a cluster, against a loop with the package, where `FDB_CLUSTER_FILE` names one.
 * - `scale`: whether time and memory are in proportion; `--only scale --records 5000000` for the whole of it.
 * - `gentle`: what requests to another model feel of a backfill, and how soon one stops.
 * - `engine`: the embedded engine against the package `lmdb`.
 * - `startup`: opening a store of 1,000 models, and imports.
 * - `eta`: how far off the told time is.
 * - `small`: `get`, `put`, `scan` and the codec against what they lie on.
 *
 * Every run is a process of its own on a fresh copy of one directory, its result is read, checked, and compared byte for
 * byte with those of the others where others did the same. Rounds are interleaved, so that a machine that slows down slows
 * all of a round. Figures are medians, with the lowest and the highest round. The code is compiled first and measured as
 * users run it: without a loader. Ratios travel between machines; times do not.
 *
 * `--check` compares the ratios with bench/baseline.json and fails where one is worse by more than the spread that is
 * stated there; `--write-baseline` writes them. `--report docs/performance.md` puts figures and output into that page.
 * `--node-options=--cpu-prof`, for one, is passed on to the processes of Godwit. A missed target is told and fails nothing.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { RunKind } from './baseline.ts';
import {
  compareWithBaseline,
  describeComparisons,
  readBaseline,
  withFigures,
  writeBaseline,
} from './baseline.ts';
import { compareCeiling } from './ceiling.ts';
import { compile, describeMachine } from './compile.ts';
import { measureEngine } from './engine.ts';
import { measureEta } from './eta.ts';
import type { Bench } from './figures.ts';
import { print, Section } from './figures.ts';
import { compareOnCluster } from './foundationdb.ts';
import { measureGentleness } from './gentle.ts';
import { writeReport } from './report.ts';
import { measureScale } from './scale.ts';
import { compareSmallThings } from './side-by-side.ts';
import { measureStartup } from './startup.ts';

const parts: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  ceiling: compareCeiling,
  foundationdb: compareOnCluster,
  scale: measureScale,
  gentle: measureGentleness,
  engine: measureEngine,
  startup: measureStartup,
  eta: measureEta,
  small: compareSmallThings,
};

const baselineFile = fileURLToPath(new URL('baseline.json', import.meta.url));

function readOptions() {
  const { values } = parseArgs({
    options: {
      /** May be given more than once. */
      only: { type: 'string', multiple: true, default: [] },
      quick: { type: 'boolean', default: false },
      records: { type: 'string' },
      runs: { type: 'string' },
      check: { type: 'boolean', default: false },
      'write-baseline': { type: 'boolean', default: false },
      report: { type: 'string' },
      /** Separated by blanks. */
      'node-options': { type: 'string', default: '' },
    },
  });
  const integer = (name: 'records' | 'runs') => {
    const text = values[name];
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} is an integer from 1`);
    return value;
  };
  const chosen = values.only.length === 0 ? Object.keys(parts) : values.only;
  const unknown = chosen.find((name) => parts[name] === undefined);
  if (unknown !== undefined) throw new Error(`--only is one of ${Object.keys(parts).join(', ')}`);
  return {
    chosen,
    kind: (values.quick ? 'quick' : 'full') as RunKind,
    records: integer('records'),
    runs: integer('runs'),
    isChecked: values.check,
    isWritten: values['write-baseline'],
    report: values.report,
    nodeOptions: values['node-options'].split(' ').filter((option) => option !== ''),
  };
}

async function run({ chosen, kind, records, runs, nodeOptions }: ReturnType<typeof readOptions>) {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-bench-'));
  const sections: Section[] = [];
  try {
    const compiled = compile(directory);
    for (const name of chosen) {
      const section = new Section(name);
      print(`\n${name}`);
      const beganMs = performance.now();
      await parts[name]?.({
        compiled,
        scratch: mkdtempSync(join(directory, `${name}-`)),
        isQuick: kind === 'quick',
        records,
        runs,
        nodeOptions,
        section,
      });
      print(`  (${((performance.now() - beganMs) / 1_000).toFixed(0)} s)`);
      sections.push(section);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return sections;
}

const options = readOptions();
const { kind, report, isChecked, isWritten } = options;
const load = loadavg()[0]?.toFixed(1) ?? 'unknown';
const machine = `${describeMachine()}, load ${load} before it began`;
print(machine);
const sections = await run(options);
const figures = sections.flatMap((section) => section.figures);
const baseline = readBaseline(baselineFile);
if (isChecked) {
  const compared = compareWithBaseline(baseline[kind], figures);
  print(`\nratios against the baseline of ${baseline[kind]?.machine.replace('\n', '; ') ?? 'nobody'}`);
  for (const line of describeComparisons(compared)) print(line);
  const worse = compared.filter(({ verdict }) => verdict === 'worse').length;
  print(`  ${worse === 0 ? 'none is worse' : `${worse} are worse than they were`}`);
  if (worse > 0) process.exitCode = 1;
}
if (isWritten) writeBaseline(baselineFile, withFigures(baseline, kind, { machine, figures }));
if (report !== undefined) {
  const command = ['npm run bench --', ...process.argv.slice(2)].join(' ');
  await writeReport(report, sections, { command, machine });
}
