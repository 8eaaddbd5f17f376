/**
 * What a program pays before it serves: opening a store of many models that are all up to date, and loading the library.
 *
 * Opened in one process, many models and one in turns; and as the first thing that a fresh process does, with code that
 * nobody has compiled yet: import and open together, because the first open loads most of the library. As many transactions for many models as for one, or the bench fails: each is a round trip on
 * FoundationDB. Imports are of the compiled code, each in a fresh process; a first one, thrown away, has the files in the
 * cache of the system. What is loaded is listed in a process of its own, because watching costs.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Bench } from './figures.ts';
import { milliseconds } from './figures.ts';
import type { ImportReport, ImportTask } from './import-child.ts';
import { runChild } from './run-child.ts';
import type { ColdReport, StartupTask, WarmReport } from './startup-child.ts';

const mostModels = 1_000;

const entries = [
  { name: 'godwit', file: 'src/index.js', atMostMs: 100 },
  { name: 'godwit/transform', file: 'src/model/transform.js', atMostMs: 20 },
  { name: 'godwit/model', file: 'src/model/index.js', atMostMs: undefined },
  { name: 'godwit/nats', file: 'src/nats.js', atMostMs: undefined },
] as const;

export async function measureStartup(bench: Bench): Promise<void> {
  await measureOpen(bench);
  await measureImports(bench);
}

async function measureOpen({ compiled, scratch, section, runs, isQuick, nodeOptions }: Bench): Promise<void> {
  const file = join(compiled, 'startup-child.js');
  const directory = join(scratch, 'startup');
  mkdirSync(directory);
  const rounds = runs ?? (isQuick ? 3 : 10);
  const warm: StartupTask = { kind: 'warm', directory: join(directory, 'warm'), rounds };
  const { opened } = await runChild<WarmReport>(file, warm);
  section.print();
  section.print(`open, all models up to date, in one process, ${rounds} rounds`);
  for (const { models, transactions, tookMs } of opened) {
    section.print(
      `  models ${String(models).padStart(4)}: ${transactions} transactions, ${milliseconds(tookMs)}`,
    );
  }
  const [one, many] = [opened[0], opened.at(-1)];
  if (one === undefined || many?.models !== mostModels) throw new Error('other models were opened');
  section.figure({
    name: `transactions of open, ${mostModels} models to one`,
    rounds: [many.transactions / one.transactions],
    better: 'lower',
    target: { atMost: 1 },
  });
  section.figure({
    name: `open of ${mostModels} models`,
    rounds: many.tookMs,
    unit: 'ms',
    better: 'lower',
    target: { atMost: 200 },
  });
  section.figure({
    name: `time of open for a model, of ${mostModels} to all of one`,
    rounds: many.tookMs.map((ms, at) => ms / mostModels / (one.tookMs[at] ?? Number.NaN)),
    better: 'lower',
  });

  const cold: StartupTask = { kind: 'cold', directory: join(directory, 'cold'), models: mostModels };
  await runChild<ColdReport>(file, cold);
  const reports: ColdReport[] = [];
  for (let round = 0; round < rounds; round += 1) {
    reports.push(await runChild<ColdReport>(file, cold, { execArgv: nodeOptions }));
  }
  section.print(`as the first thing that a process does, with as many models`);
  section.figure({
    name: `import and first open of ${mostModels} models in a fresh process`,
    rounds: reports.map(({ importMs, openMs }) => importMs + openMs),
    unit: 'ms',
    better: 'lower',
  });
  section.print(
    `  import ${milliseconds(reports.map(({ importMs }) => importMs))}; ` +
      `open ${milliseconds(reports.map(({ openMs }) => openMs))}`,
  );
  section.print(
    `  from the start of the process: ${milliseconds(reports.map(({ sinceStartMs }) => sinceStartMs))}`,
  );
}

async function measureImports({ compiled, section, runs, isQuick, nodeOptions }: Bench): Promise<void> {
  const file = join(compiled, 'import-child.js');
  const rounds = runs ?? (isQuick ? 3 : 10);
  section.print();
  section.print(`imports of the compiled code, each in a fresh process, ${rounds} times`);
  for (const entry of entries) {
    const url = pathToFileURL(join(compiled, '..', entry.file)).href;
    const run = (isListed: boolean) => {
      const task: ImportTask = { url, isListed };
      return runChild<ImportReport>(file, task, { execArgv: nodeOptions });
    };
    const { files } = await run(true);
    await run(false);
    const tookMs: number[] = [];
    for (let round = 0; round < rounds; round += 1) tookMs.push((await run(false)).ms);
    section.figure({
      name: `import of ${entry.name}`,
      rounds: tookMs,
      unit: 'ms',
      better: 'lower',
      target: entry.atMostMs === undefined ? undefined : { atMost: entry.atMostMs },
    });
    section.print(`      ${describeFiles(files)}`);
  }
}

/** How many files of this repository, and of which packages how many. */
function describeFiles(files: readonly string[]): string {
  const byPackage = new Map<string, number>();
  let own = 0;
  for (const file of files) {
    const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//u.exec(file)?.[1];
    if (name === undefined) own += 1;
    else byPackage.set(name, (byPackage.get(name) ?? 0) + 1);
  }
  const packages = [...byPackage]
    .toSorted((left, right) => right[1] - left[1])
    .map(([name, number]) => `${name} ${number}`);
  return `${own} own files; ${packages.length === 0 ? 'no packages' : `packages: ${packages.join(', ')}`}`;
}
