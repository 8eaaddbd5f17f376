import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { openDatabase } from '../../src/kv/open.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { createStoreKeys, rangeOf } from '../../src/records/keys.ts';
import type { StoredStore } from '../../src/store/open-stored.ts';
import { openStored } from '../../src/store/open-stored.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { natsServerBinary, startNatsServer } from '../rig/nats-server.ts';
import { latitudeOf, townId, TownV1 } from '../rig/operators.ts';
import type { TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';
import type { BuiltCommand, Ended, How } from './command.ts';
import { buildCommand } from './command.ts';

/** Processes are started here: generous, for a machine that does something else too. */
const timeoutMs = 120_000;
const subspace = ['app', 1] as const;

/** util-linux's, which runs a command in a pseudo-terminal. */
const script = ['/usr/bin/script', '/bin/script'].find((path) => {
  try {
    accessSync(path, constants.X_OK);
    return process.platform === 'linux';
  } catch {
    return false;
  }
});
if (script === undefined) {
  process.stderr.write('\n!!! No script of util-linux here: godwit in a terminal is NOT TESTED.\n\n');
}

let command: BuiltCommand;
beforeAll(async () => {
  command = await buildCommand();
}, timeoutMs);
afterAll(() => command.remove());

let directory: TemporaryDirectory;
let console: StoredStore | undefined;
beforeEach(() => {
  directory = createTemporaryDirectory('cli');
});
afterEach(async () => {
  await console?.close();
  console = undefined;
  directory.remove();
});

const database = (name = 'data') => `embedded:${join(directory.path, name)}`;
const at = (name?: string) => ['--database', database(name), '--subspace', 'app/1'];

async function fill(towns: number, name?: string): Promise<void> {
  const store = await FoundationDBDataStore.open({
    database: database(name),
    subspace,
    dataModelsById: { 1: TownV1 },
  });
  for (let from = 0; from < towns; from += 500) {
    await store.transact(async (tx) => {
      for (let n = from; n < Math.min(towns, from + 500); n += 1) {
        await tx.model(TownV1).add({ id: townId(n), lat: String(latitudeOf(n)) });
      }
    });
  }
  await store.close();
}

/** Too slow to be done by itself while a test looks at it. */
const slow: How = { rate: 100 };
const manyTowns = 3_000;

/** A program that migrates the towns, slowly, and is under way. */
async function beginSlowly(options: Readonly<Record<string, unknown>> = {}) {
  await fill(manyTowns);
  const program = await command.program({ how: slow, database: database(), subspace, ...options });
  const opened = await openStored({ database: database(), subspace, nodeId: 'test' });
  console = opened;
  const becomes = (sentence: string, holds: (status: MigrationStatus) => boolean) =>
    waitUntil(sentence, async () => holds(await opened.status(1)));
  await becomes('records were moved', ({ progress }) => progress.recordsDone > 0);
  const kill = async () => {
    program.child.kill('SIGKILL');
    await program.ended;
  };
  return { becomes, kill };
}

/** Looks less often than tests in one process do: the processor is for the processes here. */
function waitUntil(sentence: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  return vi.waitFor(
    async () => {
      if (!(await condition())) throw new Error(`it never came about that ${sentence}`);
    },
    { timeout: 60_000, interval: 50 },
  );
}

const town = { modelId: 1, modelName: 'Town' };
const codeOf = ({ json }: Ended) => (json as { error?: { code?: string } } | undefined)?.error?.code;
const lines = ({ stdout }: Ended) => stdout.trimEnd().split('\n');

describe('godwit, against a migration in another process', () => {
  it('tells where it stands, and steers it', { timeout: timeoutMs }, async () => {
    const { becomes, kill } = await beginSlowly({ nodeId: 'node-a' });
    const [table, status, metrics, lease, audit, verified, notWaiting, unknown, unasked] = await Promise.all([
      command.godwit(['status', ...at()]),
      command.godwit(['status', 'Town', '--json'], {
        GODWIT_DATABASE: database(),
        GODWIT_SUBSPACE: '["app",1]',
      }),
      command.godwit(['metrics', ...at(), '--json']),
      command.godwit(['lease', 'explain', '1', ...at(), '--json']),
      command.godwit(['audit', 'Town', ...at(), '--json', '--limit', '2']),
      command.godwit(['verify', ...at(), '--json']),
      command.godwit(['migrate', ...at(), '--models', './models.js', '--no-wait', '--json']),
      command.godwit(['pause', 'Twon', ...at()]),
      command.godwit(['cancel', 'Town', ...at(), '--json']),
    ]);
    expect(table.code).toBe(0);
    expect(lines(table)[1]).toMatch(/^1 {3}Town {3}Running {2}Backfill .* node-a/);
    expect(status).toMatchObject({ code: 0, json: [{ ...town, state: 'Running', blocking: true }] });
    expect(metrics).toMatchObject({ code: 0, json: [{ ...town, metrics: { started: 1, completed: 0 } }] });
    expect(lease).toMatchObject({ code: 0, json: { held: true, nodeId: 'node-a', epoch: 1 } });
    expect(audit).toMatchObject({
      code: 0,
      json: [
        { ...town, type: 'PhaseCompleted' },
        { type: 'PhaseStarted', phase: 'Backfill' },
      ],
    });
    expect([verified.code, codeOf(verified)]).toEqual([7, 'MODEL_MIGRATING']);
    expect([notWaiting.code, codeOf(notWaiting)]).toEqual([75, 'MIGRATION_PENDING']);
    expect([unknown.code, unknown.stderr]).toEqual([
      9,
      'godwit: MODEL_UNKNOWN: The store has no model Twon. Did you mean Town?\n',
    ]);
    expect([unasked.code, codeOf(unasked)]).toEqual([2, 'NOT_CONFIRMED']);
    expect(unasked.stderr).toContain('Town stays closed to requests until the migration is resumed');

    const paused = await command.godwit(['pause', '1', ...at(), '--by', 'ann', '--reason', 'peak', '--json']);
    expect(paused).toMatchObject({ code: 0, json: { ...town, intentRevision: 1 } });
    await becomes('it is paused', ({ state, owner }) => state === 'Paused' && owner === null);
    const waiting = command.start(['migrate', ...at(), '--models', 'models.js']);
    const itWaits = /Town {2}Paused .* paused: peak; waits for 'godwit resume Town'\n/;
    await waitUntil('it says that it waits', () => itWaits.test(waiting.said()));
    waiting.child.kill('SIGINT');
    const [waited, late] = await Promise.all([
      waiting.ended,
      command.godwit(['migrate', ...at(), '--models', 'models.js', '--timeout', '100ms']),
    ]);
    expect([waited.code, waited.stdout]).toEqual([130, '']);
    expect(waited.stderr).toContain('godwit: INTERRUPTED: Ended by SIGINT. Nothing is lost');
    expect([late.code, late.stdout]).toEqual([5, '']);
    expect(late.stderr).toContain('godwit: TIMEOUT: The time of --timeout is over. Nothing is lost');

    const resumed = await command.godwit(['resume', 'Town', ...at()]);
    expect([resumed.code, resumed.stderr]).toEqual([0, '']);
    await becomes('it goes on', ({ state, owner }) => state === 'Running' && owner?.nodeId === 'node-a');
    const released = await command.godwit(['lease', 'release', 'Town', ...at(), '--yes', '--json']);
    expect(released).toMatchObject({ code: 0, json: { nodeId: 'node-a', epoch: 2 } });

    await kill();
    const canceled = await command.godwit(['cancel', 'Town', ...at(), '--yes', '--by', 'ann']);
    expect(canceled.code).toBe(0);
    const [again, audited] = await Promise.all([
      command.godwit(['migrate', ...at(), '--models', './models.js', '--json']),
      command.godwit(['audit', '1', ...at()]),
    ]);
    expect([again.code, codeOf(again)]).toEqual([4, 'MIGRATION_CANCELED']);
    expect(audited.stdout).toContain('Paused');
    expect(lines(audited).at(-1)).toContain('message="Canceled by operator (by ann)"');
    const reset = await command.godwit(['reset', 'Town', ...at(), '--yes', '--json']);
    expect(reset).toMatchObject({
      code: 0,
      json: { ...town, state: 'Waiting', reason: { code: 'mixedRecords' } },
    });
    const nothing = await command.godwit(['pause', 'Town', ...at(), '--json']);
    expect([nothing.code, codeOf(nothing)]).toEqual([7, 'MIGRATION_NOT_PENDING']);
  });

  it.runIf(natsServerBinary !== undefined)(
    'does so through the nodes alone, over NATS',
    { timeout: timeoutMs },
    async () => {
      const server = await startNatsServer();
      try {
        const bus = `nats://${server.address}`;
        const { becomes, kill } = await beginSlowly({ bus, storeName: 'towns' });
        const nodes = ['--nats', bus, '--store', 'towns'];
        const [status, byDatabase, nobody] = await Promise.all([
          command.godwit(['status', ...nodes, '--json']),
          command.godwit(['audit', 'Town', ...nodes]),
          command.godwit(['status', '--nats', bus, '--store', 'others', '--timeout', '500ms', '--json']),
        ]);
        expect(status).toMatchObject({ code: 0, json: [{ ...town, state: 'Running' }] });
        expect([byDatabase.code, byDatabase.stderr]).toEqual([
          2,
          'godwit: OPTION_INVALID: This needs --database (or GODWIT_DATABASE); the nodes on the bus cannot be asked for this.\n',
        ]);
        expect([nobody.code, codeOf(nobody)]).toEqual([69, 'BUS_UNANSWERED']);
        const paused = await command.godwit(['pause', 'Town', ...nodes, '--json']);
        expect(paused).toMatchObject({ code: 0, json: { ...town, intentRevision: 1 } });
        await becomes('it is paused', ({ state }) => state === 'Paused');
        const watching = command.start(['watch', ...nodes, '--json']);
        await waitUntil('the watcher has seen it', () => watching.said().includes('"Paused"'));
        await kill();
        await command.program({ how: {}, database: database(), subspace, bus, storeName: 'towns' });
        const resumed = await command.godwit(['resume', '1', ...nodes]);
        expect(resumed.code).toBe(0);
        const watched = await watching.ended;
        expect(watched.code).toBe(0);
        const seen = lines(watched).map((line) => JSON.parse(line) as MigrationStatus);
        expect(new Set(seen.map(({ state }) => state))).toEqual(
          new Set(['Paused', 'Waiting', 'Running', 'Idle']),
        );
        expect(seen.at(-1)).toMatchObject({ ...town, state: 'Idle', blocking: false });
      } finally {
        await server.stop();
      }
    },
  );

  it.runIf(script !== undefined)('draws in a terminal, and asks there', { timeout: timeoutMs }, async () => {
    const { kill } = await beginSlowly();
    const inTerminal = (line: string) =>
      command.spawn(script ?? '', [
        '-qec',
        `stty cols 100 rows 20; "${process.execPath}" "${command.main}" ${line}`,
        '/dev/null',
      ]);
    const place = at().join(' ');
    const asked = inTerminal(`cancel Town ${place}`);
    const watching = inTerminal(`watch ${place}`);
    await waitUntil('it has asked', () => asked.said().includes('Go on? [y/N]'));
    asked.child.stdin.write('n\n');
    const refused = await asked.ended;
    expect(refused.code).toBe(2);
    expect(refused.stdout).toContain('Nothing was changed.');
    await waitUntil('it has drawn over it', () => watching.said().includes('\u001b[1A\u001b[0J'));
    await kill();
    expect(await command.godwit(['migrate', ...at(), '--models', './models.js'])).toMatchObject({ code: 0 });
    const { code, stdout } = await watching.ended;
    expect(code).toBe(0);
    // A bar, drawn over the one before it, in colours.
    expect(stdout).toContain('Town\u001b[22m  \u001b[36mRunning');
    expect(stdout).toContain('[#');
    expect(stdout.trimEnd()).toMatch(/Town\S* {2}\S*Idle\S*$/);
  });
});

describe('godwit migrate', () => {
  const migrate = (name: string, how: How, args: readonly string[] = []) =>
    command.godwit(['migrate', ...at(name), '--models', './models.js', ...args], {
      TOWNS: JSON.stringify(how),
    });

  it('ends as its exit code says', { timeout: timeoutMs }, async () => {
    await Promise.all(['done', 'failing', 'unfit'].map((name) => fill(700, name)));
    const plan = (name: string, how: How, args: readonly string[] = []) =>
      command.godwit(['plan', ...at(name), '--models', './models.js', ...args], {
        TOWNS: JSON.stringify(how),
      });
    const [planned, tried, hindered] = await Promise.all([
      plan('done', {}, ['--json']),
      plan('failing', { fails: true }, ['--sample', '20', '--show', 'lat']),
      plan('unfit', { hasHandler: false }),
    ]);
    expect(planned).toMatchObject({
      code: 0,
      json: {
        isNew: false,
        problems: [],
        models: [{ ...town, action: 'migrate', estimate: { records: 700 } }],
      },
    });
    expect(tried.code).toBe(6);
    expect(tried.stdout).toMatch(/\n {2}sample of 20 records to 2\.0: 20 failed/);
    expect(tried.stdout).toMatch(/\n {6}before \{"lat":"-?\d+"\}\n {6}after {2}-\n/);
    expect(hindered.code).toBe(8);
    expect(hindered.stdout).toContain('problem Town: MIGRATION_HANDLER_MISSING: ');
    const [done, failed, unfit] = await Promise.all([
      migrate('done', {}, ['--json']),
      migrate('failing', { fails: true }, ['--json']),
      migrate('unfit', { hasHandler: false }),
    ]);
    expect(done).toMatchObject({ code: 0, json: [{ ...town, state: 'Idle', blocking: false }] });
    expect(done.stderr).toMatch(/^Town {2}Waiting .*\n(?:.*\n)*Town {2}Idle\n$/);
    expect([failed.code, codeOf(failed)]).toEqual([3, 'MIGRATION_FAILED']);
    expect(failed.stderr).toContain('godwit: MIGRATION_FAILED: ');
    expect([unfit.code, unfit.stdout]).toEqual([8, '']);
    expect(unfit.stderr).toContain('godwit: MIGRATION_HANDLER_MISSING: ');
    const resumed = await command.godwit(['resume', 'Town', ...at('failing'), '--json']);
    expect(resumed).toMatchObject({ code: 0, json: { state: 'Waiting' } });
    // The next deployment, with a mended program.
    expect(await migrate('failing', {})).toMatchObject({ code: 0 });
  });

  it(
    'gives back what it holds where it is told to end, and another run goes on',
    { timeout: timeoutMs },
    async () => {
      await fill(manyTowns);
      const slow = { TOWNS: JSON.stringify({ rate: 300 }) };
      const started = command.start(['migrate', ...at(), '--models', './models.js'], slow);
      console = await openStored({ database: database(), subspace });
      const opened = console;
      await waitUntil('records were moved', async () => (await opened.status(1)).progress.recordsDone > 0);
      started.child.kill('SIGTERM');
      const { code, stderr } = await started.ended;
      expect(code).toBe(143);
      expect(stderr).toContain('godwit: INTERRUPTED: Ended by SIGTERM. Nothing is lost');
      expect(await opened.explainLease(1)).toMatchObject({ held: false, epoch: 1 });
      expect(await migrate('data', {})).toMatchObject({ code: 0 });
      expect(await opened.metrics(1)).toMatchObject({ recordsMoved: manyTowns, completed: 1, takeovers: 0 });
    },
  );
});

describe('godwit approve', () => {
  it('lets a migration go on that waits for it', { timeout: timeoutMs }, async () => {
    await fill(100);
    const early = await command.godwit(['approve', 'Town', ...at(), '--json']);
    expect([early.code, codeOf(early)]).toEqual([7, 'MIGRATION_NOT_PENDING']);
    const migrating = command.start(['migrate', ...at(), '--models', './models.js', '--json'], {
      TOWNS: JSON.stringify({ approval: 'manual' }),
    });
    await waitUntil('it says what it waits for', () =>
      migrating.said().includes('approval: verification has passed'),
    );
    const approved = await command.godwit(['approve', 'Town', ...at(), '--by', 'ann', '--json']);
    expect(approved).toMatchObject({ code: 0, json: town });
    expect(await migrating.ended).toMatchObject({ code: 0, json: [{ ...town, state: 'Idle' }] });
  });
});

describe('godwit verify', () => {
  it('tells what is wrong by keys, and ends with 6', { timeout: timeoutMs }, async () => {
    await fill(300);
    const damaged = await openDatabase(database());
    const keys = createStoreKeys(subspace).model(1);
    await damaged.transact(async (tx) => {
      const { begin, end } = rangeOf(keys.index(1));
      const [first] = await tx.getRangeAll(begin, end, { limit: 1 });
      tx.clear(first?.key ?? Buffer.alloc(0));
    });
    await damaged.close();
    const [text, json] = await Promise.all([
      command.godwit(['verify', 'Town', ...at()]),
      command.godwit(['verify', ...at(), '--json']),
    ]);
    expect(text.code).toBe(6);
    expect(lines(text)).toEqual([
      'Town 1.0: NOT IN ORDER; 300 records checked',
      '  index byLat: 299 entries checked: 1 missing',
      expect.stringMatching(/^ {4}[0-9a-f]+: has no entry$/),
    ]);
    expect(json).toMatchObject({ code: 6, json: [{ ...town, passed: false, records: { checked: 300 } }] });
  });
});
