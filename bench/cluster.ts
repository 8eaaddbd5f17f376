/**
 * `npm run bench:cluster [-- --quick --records 60000 --rounds 5 --micros 200 --nodes 3 --only uniform]`: how much faster a backfill is when more
 * nodes move it, and what they cost each other. Each node is a process with one worker thread; all share one embedded
 * directory. Nodes are loaded and wait before they open the store at the same moment, as replicas that were deployed.
 *
 * - One, two and three nodes with a transform of 200 µs a record, in turns, on fresh copies of the same records: of equal
 *   size (`uniform`), with nine tenths of the bytes in the last tenth of the keys (`skewed`), and the same where a record
 *   costs in proportion to its size, 200 µs in the mean (`heavy`). Two nodes should move 1.6 times what
 *   one does (two cores needed), and no node should be idle for more than 10 %.
 * - Eight movers with a transform that costs nothing, so that they meet as often as they can: 2 nodes of 4, 4 nodes of 2.
 *   Conflicts should stay below 1 % of the chunks.
 *
 * The backfill is from the first claim of anybody to the last chunk of anybody. A node is idle where it has no range in
 * that time: before its first claim (it has not noticed), in between, and after its last. `thread` is the part in which its
 * thread computes, by the cost of a record (in the mean: not where that differs). Threads that waited for a core had
 * a machine that was busy with other things: the ratio says little then. Conflicts are those of `migrationMetrics`, which are chunks'; those of claims
 * stand by themselves. After each run every record is read: moved once, and as many moves counted.
 *
 * A missed target is told and fails nothing: others use the machine too. The costs at the end are what docs/scale.md reckons
 * with.
 */
import { fork } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ClusterReport, ClusterTask, CoreUse } from './cluster-child.ts';
import type { Sizes } from './cluster-models.ts';
import { median, spread } from './compare.ts';
import { compile, describeMachine } from './compile.ts';
import { bySizeVariable } from './costly-transform.ts';
import type { LedgerCommit } from './ledger-spy.ts';
import type { Costs } from './projection.ts';
import { project } from './projection.ts';
import { measureWork, workVariable } from './work.ts';

interface Setup {
  readonly nodes: number;
  readonly concurrency: number;
  readonly transform: 'costly' | 'cheap';
}

interface NodeRun {
  readonly moved: number;
  /** Parts of the backfill, 0 to 1. */
  readonly idle: number;
  readonly idleBefore: number;
  readonly idleAfter: number;
  readonly thread: number;
  readonly use: CoreUse;
}

interface Run {
  readonly ms: number;
  readonly recordsPerSecond: number;
  readonly chunks: number;
  readonly conflicts: number;
  readonly planned: number;
  readonly nodes: readonly NodeRun[];
  readonly commits: readonly LedgerCommit[];
}

const print = (line = '') => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
const percent = (part: number) => `${(100 * part).toFixed(1)} %`;
const targets = { ratio: 1.6, idle: 0.1, conflicts: 0.01 } as const;

/** Forks a child with its task; answers when it has ended well, with the last that it said. */
function start(file: string, task: ClusterTask) {
  const child = fork(file, [JSON.stringify(task)], { execArgv: [] });
  const reports: ClusterReport[] = [];
  let onReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => {
    onReady = resolve;
  });
  const ended = new Promise<ClusterReport | undefined>((resolve, reject) => {
    child.on('message', (message) => {
      reports.push(message as ClusterReport);
      onReady();
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0) resolve(reports.at(-1));
      else reject(new Error(`a child ended with ${code ?? signal ?? 'nothing'}: ${JSON.stringify(task)}`));
    });
  });
  return { ready: Promise.race([ready, ended]), ended, go: () => child.send('go') };
}

/** Records of one kind in one directory, and clusters that move copies of it. */
class Arena {
  readonly #file: string;
  readonly #parent: string;
  readonly #records: number;
  #copies = 0;

  private constructor(file: string, parent: string, records: number) {
    this.#file = file;
    this.#parent = parent;
    this.#records = records;
  }

  static async create(file: string, scratch: string, records: number, sizes: Sizes): Promise<Arena> {
    const parent = mkdtempSync(join(scratch, `${sizes}-`));
    const arena = new Arena(file, parent, records);
    await start(file, { kind: 'fill', directory: arena.#original, records, sizes }).ended;
    return arena;
  }

  get #original(): string {
    return join(this.#parent, 'original');
  }

  async run({ nodes, concurrency, transform }: Setup): Promise<Run> {
    const directory = join(this.#parent, `copy-${(this.#copies += 1)}`);
    cpSync(this.#original, directory, { recursive: true });
    const children = Array.from({ length: nodes }, (_, n) =>
      start(this.#file, { kind: 'node', directory, nodeId: `node-${n}`, transform, concurrency }),
    );
    await Promise.all(children.map(({ ready }) => ready));
    for (const { go } of children) go();
    const reports = await Promise.all(children.map(({ ended }) => ended));
    const checked = await start(this.#file, { kind: 'check', directory, records: this.#records }).ended;
    rmSync(directory, { recursive: true });
    if (checked?.type !== 'checked') throw new Error('nothing was checked');
    const moved = reports.flatMap((report) => (report?.type === 'moved' ? [report] : []));
    return readRun(moved, this.#records, checked);
  }

  remove(): void {
    rmSync(this.#parent, { recursive: true });
  }
}

type Moved = Extract<ClusterReport, { readonly type: 'moved' }>;

function readRun(
  nodes: readonly Moved[],
  records: number,
  { chunks, conflicts }: Extract<ClusterReport, { readonly type: 'checked' }>,
): Run {
  const commits = nodes.flatMap((node) => node.commits);
  const of = (kind: LedgerCommit['kind']) => commits.filter((commit) => commit.kind === kind);
  const fromMs = Math.min(...of('claim').map(({ beganMs }) => beganMs));
  const toMs = Math.max(...of('chunk').map(({ atMs }) => atMs));
  const ms = toMs - fromMs;
  return {
    ms,
    recordsPerSecond: (records / ms) * 1_000,
    chunks,
    conflicts,
    planned: 1 + Math.max(...commits.filter(({ kind }) => kind !== 'split').map(({ range }) => range)),
    nodes: nodes.map((node) => readNode(node, fromMs, toMs)),
    commits,
  };
}

function readNode({ commits, use }: Moved, fromMs: number, toMs: number): NodeRun {
  const held = new Set<number>();
  let idleMs = 0;
  let idleSinceMs = fromMs;
  let firstMs: number | undefined;
  for (const { range, isHeld, atMs, kind } of commits.toSorted((one, other) => one.atMs - other.atMs)) {
    if (kind === 'plan') continue;
    const wasIdle = held.size === 0;
    if (isHeld) held.add(range);
    else held.delete(range);
    if (wasIdle && held.size > 0) {
      idleMs += Math.max(0, atMs - idleSinceMs);
      firstMs ??= atMs;
    }
    if (!wasIdle && held.size === 0) idleSinceMs = atMs;
  }
  const idleAfterMs = held.size === 0 ? Math.max(0, toMs - idleSinceMs) : 0;
  const moved = commits.reduce((sum, { records }) => sum + records, 0);
  const ms = toMs - fromMs;
  return {
    moved,
    idle: (idleMs + idleAfterMs) / ms,
    idleBefore: ((firstMs ?? toMs) - fromMs) / ms,
    idleAfter: idleAfterMs / ms,
    thread: (moved * options.micros) / 1_000 / ms,
    use,
  };
}

/** All of them, for what they cost. */
const costlyRuns: Run[] = [];

const costly = (nodes: number): Setup => ({ nodes, concurrency: 4, transform: 'costly' });

async function compareNodes(
  file: string,
  scratch: string,
  sizes: Sizes,
  { records, rounds, most }: ReturnType<typeof readOptions>,
): Promise<void> {
  if (sizes === 'heavy') process.env[bySizeVariable] = 'yes';
  const arena = await Arena.create(file, scratch, records, sizes);
  const counts = Array.from({ length: most }, (_, n) => n + 1);
  const runs = new Map<number, Run[]>(counts.map((nodes) => [nodes, []]));
  print(
    `\n${sizes}: ${count(records)} records, ${options.micros} µs each, 1 thread a node, ` +
      `${availableParallelism()} cores; ${rounds} rounds`,
  );
  for (let round = 0; round < rounds; round += 1) {
    for (const at of counts.keys()) {
      const nodes = counts[(at + round) % counts.length] ?? 1;
      const run = await arena.run(costly(nodes));
      runs.get(nodes)?.push(run);
      costlyRuns.push(run);
      printRun(nodes, run, 'costly');
    }
  }
  arena.remove();
  Reflect.deleteProperty(process.env, bySizeVariable);
  const of = (nodes: number) => runs.get(nodes) ?? [];
  for (const nodes of counts.slice(1)) {
    const ratios = of(nodes).map(
      (run, at) => run.recordsPerSecond / (of(1)[at]?.recordsPerSecond ?? Number.NaN),
    );
    const told = nodes === 2 ? `; target ${targets.ratio}: ${verdict(median(ratios) >= targets.ratio)}` : '';
    print(`  ${nodes} nodes to one: ${spread(ratios)}${told}`);
  }
  for (const nodes of counts.slice(1)) {
    const idle = median(of(nodes).map((run) => Math.max(...run.nodes.map((node) => node.idle))));
    // With more threads than cores the machine decides who waits.
    const isTold = nodes <= availableParallelism();
    const told = isTold ? `; target at most ${percent(targets.idle)}: ${verdict(idle <= targets.idle)}` : '';
    print(`  ${nodes} nodes, the idlest is idle for ${percent(idle)} (median)${told}`);
  }
}

const verdict = (isMet: boolean) => (isMet ? 'met' : 'missed');

function printRun(nodes: number, run: Run, transform: Setup['transform']): void {
  const of = (kind: LedgerCommit['kind']) => run.commits.filter((commit) => commit.kind === kind);
  const repeats = [...of('claim'), ...of('split')].reduce((sum, commit) => sum + commit.repeats, 0);
  print(
    `  ${nodes} ${nodes === 1 ? 'node ' : 'nodes'} ${count(run.recordsPerSecond).padStart(7)} records/s  ` +
      `${run.chunks} chunks, ${run.conflicts} conflicts; ${run.planned} ranges, ${of('claim').length} claims, ` +
      `${of('split').length} splits, ${repeats} repeated`,
  );
  for (const { moved, idle, idleBefore, idleAfter, thread, use } of run.nodes) {
    const cores = `, ${percent(use.ranMs / run.ms)} of a core, waited for one ${percent(use.waitedMs / run.ms)}`;
    const busy = transform === 'costly' ? `, thread ${percent(thread)}${cores}` : cores;
    const when = `${percent(idleBefore)} before, ${percent(idleAfter)} after`;
    print(`      ${count(moved).padStart(7)} records, idle ${percent(idle)} (${when})${busy}`);
  }
}

async function crowd(
  file: string,
  scratch: string,
  { cheapRecords, rounds }: ReturnType<typeof readOptions>,
): Promise<void> {
  const arena = await Arena.create(file, scratch, cheapRecords, 'uniform');
  print(`\n8 movers, a transform that costs nothing: ${count(cheapRecords)} records`);
  const runs: Run[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const [nodes, concurrency] of [
      [2, 4],
      [4, 2],
    ] as const) {
      const run = await arena.run({ nodes, concurrency, transform: 'cheap' });
      runs.push(run);
      printRun(nodes, run, 'cheap');
    }
  }
  arena.remove();
  const [chunks, conflicts] = [
    runs.reduce((sum, run) => sum + run.chunks, 0),
    runs.reduce((sum, run) => sum + run.conflicts, 0),
  ];
  const isMet = conflicts / chunks < targets.conflicts;
  print(
    `  conflicts per chunk: ${percent(conflicts / chunks)} of ${chunks}; target below ${percent(targets.conflicts)}: ${verdict(isMet)}`,
  );
  printCosts(runs);
}

/** Key and value of a uniform one. */
const bytesPerRecord = 210;

/** What docs/scale.md reckons with: chunks and claims of movers that meet as often as they can, splits of all runs. */
function printCosts(runs: readonly Run[]): void {
  print('\ncosts of a transaction, medians: commit included, on this machine');
  const commitsOf = (kind: LedgerCommit['kind'], of: readonly Run[]) =>
    of.flatMap(({ commits }) => commits.filter((commit) => commit.kind === kind));
  const splits = commitsOf('split', [...runs, ...costlyRuns]);
  for (const all of [commitsOf('claim', runs), splits, commitsOf('chunk', runs)]) {
    const [{ kind } = { kind: undefined }] = all;
    if (kind === undefined) continue;
    const of = (value: (commit: LedgerCommit) => number) => median(all.map(value));
    const tookMs = of(({ atMs, beganMs }) => atMs - beganMs).toFixed(1);
    const repeats = all.reduce((sum, commit) => sum + commit.repeats, 0);
    print(
      `  ${kind.padEnd(6)} ${tookMs.padStart(6)} ms, ${count(of((commit) => commit.keysRead))} keys read, ` +
        `${count(of((commit) => commit.keysWritten))} written for ${count(of((commit) => commit.records))} records, ` +
        `${count(of((commit) => commit.rowBytes))} bytes of range; ${repeats} of ${all.length} repeated`,
    );
  }
  const chunks = commitsOf('chunk', runs);
  const sum = (value: (commit: LedgerCommit) => number) =>
    chunks.reduce((total, commit) => total + value(commit), 0);
  const alone = costlyRuns.filter(({ nodes }) => nodes.length === 1);
  if (alone.length === 0) return;
  printProjection({
    recordsPerSecond: median(alone.map((run) => run.recordsPerSecond)),
    mostRecordsPerSecond: median(runs.map((run) => run.recordsPerSecond)),
    bytesPerRecord,
    recordsPerChunk: median(chunks.map(({ records }) => records)),
    keysReadPerChunk: median(chunks.map(({ keysRead }) => keysRead)),
    keysWrittenPerRecord: sum(({ keysWritten }) => keysWritten) / sum(({ records }) => records),
    claimSeconds: median(commitsOf('claim', runs).map(({ atMs, beganMs }) => atMs - beganMs)) / 1_000,
    splitsPerMover: splitsPerMover(),
  });
}

/** The most of any run. */
function splitsPerMover(): number {
  const shared = costlyRuns.filter(({ nodes }) => nodes.length > 1);
  const of = ({ commits, nodes }: Run) =>
    commits.filter(({ kind }) => kind === 'split').length / (nodes.length * costly(1).concurrency);
  return Math.max(0, ...shared.map(of));
}

function printProjection(costs: Costs): void {
  print(
    `\nprojection from: ${count(costs.recordsPerSecond)} records/s of one node, ` +
      `${count(costs.mostRecordsPerSecond)} of the database, ${count(costs.recordsPerChunk)} records a chunk, ` +
      `claims of ${(costs.claimSeconds * 1_000).toFixed(1)} ms, ${costs.splitsPerMover.toFixed(2)} splits a mover`,
  );
  print(
    '      records  nodes    seconds     keys/s   claims   claims/s   repeated   conflicts   without range',
  );
  for (const records of [1_000_000, 100_000_000]) {
    for (const nodes of [1, 2, 8, 16, 64, 128]) {
      const it = project(nodes, records, costs);
      const columns = [
        count(records).padStart(13),
        String(nodes).padStart(6),
        count(it.seconds).padStart(10),
        count(it.keysPerSecond).padStart(10),
        String(it.claims).padStart(8),
        it.claimsPerSecond.toFixed(3).padStart(10),
        it.repeatedClaims.toFixed(1).padStart(10),
        `${(100 * it.conflicts).toFixed(2)} %`.padStart(11),
        String(it.withoutRange).padStart(15),
      ];
      print(columns.join(' '));
    }
  }
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      records: { type: 'string' },
      rounds: { type: 'string' },
      nodes: { type: 'string' },
      micros: { type: 'string' },
      /** `uniform`, `skewed`, `heavy` or `movers`. */
      only: { type: 'string' },
    },
  });
  const integer = (name: 'records' | 'rounds' | 'nodes' | 'micros', otherwise: number) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} is an integer from 1`);
    return value;
  };
  const { quick, only } = values;
  return {
    records: integer('records', quick ? 20_000 : 60_000),
    rounds: integer('rounds', quick ? 1 : 5),
    /** Of CPU, for each record. */
    micros: integer('micros', 200),
    /** At most. */
    most: integer('nodes', quick ? 2 : 3),
    cheapRecords: quick ? 50_000 : 400_000,
    isChosen: (name: string) => only === undefined || only === name,
  };
}

const options = readOptions();
const scratch = mkdtempSync(join(tmpdir(), 'godwit-bench-cluster-'));
try {
  print(describeMachine());
  process.env[workVariable] = String(measureWork(options.micros));
  const file = join(compile(scratch), 'cluster-child.js');
  for (const sizes of ['uniform', 'skewed', 'heavy'] as const) {
    if (options.isChosen(sizes)) await compareNodes(file, scratch, sizes, options);
  }
  if (options.isChosen('movers')) await crowd(file, scratch, options);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
