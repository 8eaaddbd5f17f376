/**
 * `npm run bench:profile [-- --records 200000 --side godwit-1 --transform cheap --sizes small --top 25]`: where the time of
 * a backfill goes, for each of its threads: the functions in which the processor was, and all of each file and package.
 * Nothing is verified and nothing checked in the process that is profiled.
 *
 * `npm run bench:profile -- <file.cpuprofile> ...` tells the same of files that are there; a directory stands for all that
 * are in it. `npm run bench -- --only startup --node-options='--cpu-prof --cpu-prof-dir=profiles'` writes some.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { Arena } from './arena.ts';
import type { ChildTask, Side } from './child.ts';
import { compile, describeMachine } from './compile.ts';
import { count, percent, print } from './figures.ts';
import type { PlaceSizes } from './models.ts';
import { measureWork, workVariable } from './work.ts';

/** What V8 writes, as far as it is read here. */
interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

const costlyMicros = 50;
/** No thread worked meanwhile. */
const idleNames = new Set(['(idle)', '(program)']);

function readOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      records: { type: 'string', default: '200000' },
      side: { type: 'string', default: 'godwit-1' },
      transform: { type: 'string', default: 'cheap' },
      sizes: { type: 'string', default: 'small' },
      top: { type: 'string', default: '25' },
    },
  });
  return {
    files: positionals,
    records: Number(values.records),
    side: values.side as Side,
    transform: values.transform as NonNullable<ChildTask['transform']>,
    sizes: values.sizes as PlaceSizes,
    top: Number(values.top),
  };
}

/** `src/kv/...` for what was compiled from here, and the name in front for what is a package's. */
function placeOf(url: string): string {
  if (url === '') return 'native and V8';
  const path = url.replace(/^file:\/\//u, '');
  return (
    /.*\/node_modules\/(.+)/u.exec(path)?.[1] ??
    /.*\/dist\/((?:src|machines|workers|bench)\/.+)/u.exec(path)?.[1] ??
    path
  );
}

function ownerOf(place: string): string {
  if (/^(?:src|machines|workers|bench)\//u.test(place) || place.startsWith('node:')) return place;
  return place.split('/')[0] ?? place;
}

function printProfile(file: string, top: number): void {
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(file, 'utf8')) as Profile;
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const [functions, owners] = [new Map<string, number>(), new Map<string, number>()];
  const add = (to: Map<string, number>, name: string, ms: number) => to.set(name, (to.get(name) ?? 0) + ms);
  let busyMs = 0;
  let allMs = 0;
  for (const [at, id] of samples.entries()) {
    const frame = frames.get(id);
    // What lies before a sample belongs to the one before it; over many samples it is the same.
    const ms = (timeDeltas[at] ?? 0) / 1_000;
    allMs += ms;
    if (frame === undefined || idleNames.has(frame.functionName)) continue;
    busyMs += ms;
    const place = placeOf(frame.url);
    const name = frame.functionName === '' ? '(anonymous)' : frame.functionName;
    add(functions, frame.url === '' ? name : `${name} ${place}:${frame.lineNumber + 1}`, ms);
    add(owners, frame.url === '' ? name : ownerOf(place), ms);
  }
  // CPU.<day>.<time>.<process>.<thread>.<number>.cpuprofile
  const thread = basename(file).split('.')[4];
  const name = thread === '0' ? 'main thread' : `worker thread ${thread ?? 'unknown'}`;
  print(`\n${name}: ${count(busyMs)} ms busy of ${count(allMs)} ms`);
  for (const [title, table] of [
    ['by function', functions],
    ['by file and package', owners],
  ] as const) {
    print(`  ${title}, self time`);
    const rows = [...table].toSorted((left, right) => right[1] - left[1]).slice(0, top);
    for (const [what, ms] of rows) {
      print(`    ${count(ms).padStart(7)} ms ${percent(ms / busyMs).padStart(7)}  ${what}`);
    }
  }
}

const profilesIn = (path: string): readonly string[] =>
  statSync(path).isDirectory()
    ? readdirSync(path)
        .filter((name) => name.endsWith('.cpuprofile'))
        .toSorted()
        .map((name) => join(path, name))
    : [path];

const options = readOptions();
if (options.files.length > 0) {
  for (const file of options.files.flatMap(profilesIn)) printProfile(file, options.top);
} else {
  const scratch = mkdtempSync(join(tmpdir(), 'godwit-bench-profile-'));
  try {
    print(describeMachine());
    const { records, side, sizes, transform, top } = options;
    const arena = await Arena.create(compile(scratch), scratch, records, sizes);
    const profiles = join(scratch, 'profiles');
    const { workMs, workCpuMs } = await arena.run(side, {
      transform,
      isBare: true,
      execArgv: ['--cpu-prof', `--cpu-prof-dir=${profiles}`],
      env: transform === 'costly' ? { [workVariable]: String(measureWork(costlyMicros)) } : {},
    });
    print(
      `${side}, ${count(records)} ${sizes} records, ${transform}: ${count(workMs)} ms, CPU ${count(workCpuMs)} ms`,
    );
    for (const file of profilesIn(profiles)) printProfile(file, top);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
