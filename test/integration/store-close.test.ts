import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { createWorkerPool } from '../../src/ports/pool.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  errorFrom,
  expectIndexesToBeRight,
  heldHandler,
  townId,
  TownV1,
  TownV2,
  toV2,
  waitUntil,
} from '../rig/operators.ts';
import { createTestPlace } from '../rig/test-database.ts';
import type { TestPlace } from '../rig/test-place.ts';

const towns = 350;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { dataModelsById: { 1: TownV2 }, migrationHandler: backfill({ transform: toV2 }) } as const;

let world: World;
let barrier: Barrier;
beforeEach(() => {
  world = createWorld();
  barrier = createBarrier();
});
afterEach(async () => {
  barrier.open();
  await world.close();
});

describe('close', () => {
  it('twice, and at the same time, is fine; whatever is asked afterwards is refused', async () => {
    await world.fill(5);
    const store = await world.open({ dataModelsById: { 1: TownV1 } });
    await Promise.all([store.close(), store.close()]);
    await store.close();
    for (const call of [
      store.model(TownV1).get(townId(0)),
      store.model(TownV1).put({ id: 'x', lat: '1' }),
      store.transact((tx) => tx.model(TownV1).get(townId(0))),
      store.migrationStatus(1),
      store.migrationStatuses(),
      store.pendingMigrations(),
      store.awaitMigration(1),
      store.pauseMigration(1),
      store.migrationMetrics(1),
      store.migrationAuditEvents(1),
      store.quarantined(1),
    ]) {
      expect(await codeOf(call)).toBe('STORE_CLOSED');
    }
  });

  it('commits the chunk under way, releases the lease, and the next process goes on behind it', async () => {
    await world.fill(towns);
    barrier.shut();
    let reached = 0;
    world.beforeChunk = () => (reached++ === 1 ? barrier.pass() : undefined);
    const store = await world.open({ ...moves, ...background, maxBackfillConcurrency: 1 });
    await waitUntil('the second chunk is ready', () => barrier.waiting > 0);
    const closed = store.close();
    barrier.open();
    await closed;
    const { recordsRead } = await world.totals();
    expect(recordsRead).toBeGreaterThan(0);
    expect(recordsRead).toBeLessThan(towns);

    let transformed = 0;
    const next = await world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({ transform: toV2 }),
      migrationVerifyHandler: async () => {
        transformed = (await world.totals()).recordsRead;
        return MigrationOutcome.Success;
      },
    });
    expect(transformed).toBe(towns);
    // Released, not waited out or taken over.
    expect((await next.migrationMetrics(1)).takeovers).toBe(0);
    expect((await next.migrationMetrics(1)).recordsMoved).toBe(towns);
    await expectIndexesToBeRight(world);
  });

  it('tells a handler by its signal, and waits for it', async () => {
    await world.fill(5);
    let heard: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      heard = resolve;
    });
    let isOver = false;
    const store = await world.open({
      ...moves,
      ...background,
      migrationExpandHandler: async ({ signal }: MigrationContext) => {
        heard();
        await new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
        await barrier.pass();
        isOver = true;
        throw new Error('told to stop');
      },
    });
    await asked;
    await store.close();
    expect(isOver).toBe(true);
    const next = await world.open({ ...moves });
    expect((await next.migrationMetrics(1)).failed).toBe(0);
    expect(await next.model(TownV2).count()).toBe(5);
  });

  it('does not wait for a handler beyond its time', async () => {
    await world.fill(5);
    barrier.shut();
    const store = await world.open({
      ...moves,
      ...background,
      migrationExpandHandler: heldHandler(barrier),
    });
    await waitUntil('it is held', () => barrier.waiting > 0);
    await store.close({ timeoutMs: 1 });
    const next = await world.open({ ...moves });
    expect(await next.model(TownV2).count()).toBe(5);
  });

  it('leaves the host’s database, pool and bus open', async () => {
    const closed: string[] = [];
    const pool = createWorkerPool();
    const { database } = world;
    await world.fill(5);
    const store = await world.open({
      ...moves,
      database: {
        engine: database.engine,
        createTransaction: (options) => database.createTransaction(options),
        transact: (body, options) => database.transact(body, options),
        close: () => Promise.resolve(void closed.push('database')),
      },
      pool: {
        run: (task, transfer) => pool.run(task, transfer),
        threads: 0,
        completed: 0,
        close: () => Promise.resolve(void closed.push('pool')),
      },
      bus: {
        publish: () => undefined,
        subscribe: () => ({ unsubscribe: () => undefined }),
        close: () => Promise.resolve(void closed.push('bus')),
      },
    });
    expect(await store.model(TownV2).count()).toBe(5);
    await store.close();
    expect(closed).toEqual([]);
    await pool.close();
  });

  it('is what `await using` calls', async () => {
    const store = await world.open({ dataModelsById: { 1: TownV1 } });
    await store[Symbol.asyncDispose]();
    expect(await codeOf(store.model(TownV1).count())).toBe('STORE_CLOSED');
  });

  it('is not for a handler to call on the store that it is given', async () => {
    await world.fill(5);
    const store = await world.open({
      ...moves,
      migrationExpandHandler: async ({ store: bound }) => {
        await bound.close();
        return MigrationOutcome.Success;
      },
    });
    expect(await store.model(TownV2).count()).toBe(5);
  });
});

describe('the signal of open', () => {
  it('aborts it before and while it migrates, and another process can go on', async () => {
    await world.fill(towns);
    const early = await errorFrom(world.open({ ...moves, signal: AbortSignal.abort() }));
    expect(early).toMatchObject({ code: 'ABORTED' });

    const controller = new AbortController();
    barrier.shut();
    world.beforeChunk = (chunk) => (chunk === 0 ? undefined : barrier.pass());
    const opening = codeOf(world.open({ ...moves, signal: controller.signal }));
    await waitUntil('it is half-way', () => barrier.waiting > 0);
    controller.abort();
    barrier.open();
    expect(await opening).toBe('ABORTED');
    world.beforeChunk = () => undefined;
    const next = await world.open({ ...moves });
    expect(await next.model(TownV2).count()).toBe(towns);
    expect((await next.migrationMetrics(1)).takeovers).toBe(0);
  });

  it('has no say once open has returned', async () => {
    await world.fill(5);
    const controller = new AbortController();
    const store = await world.open({ dataModelsById: { 1: TownV1 }, signal: controller.signal });
    controller.abort();
    expect(await store.model(TownV1).count()).toBe(5);
  });
});

describe('a process', () => {
  const child = fileURLToPath(new URL('../rig/operators-child.ts', import.meta.url));
  /** Runs the child until it ends by itself. Answers its exit code and what it wrote. */
  const run = (mode: string, place: TestPlace) =>
    new Promise<{ code: number | null; output: string }>((resolve, reject) => {
      const running = spawn(process.execPath, ['--import', 'tsx', child, mode, JSON.stringify(place)], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let output = '';
      running.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()));
      running.stderr.on('data', (bytes: Buffer) => (output += bytes.toString()));
      running.on('error', reject);
      running.on('close', (code) => resolve({ code, output }));
    });

  it.each(['closed', 'migrated', 'paused', 'open'])(
    'ends by itself when its store is %s',
    { timeout: 60_000 },
    async (mode) => {
      const place = createTestPlace('close');
      try {
        expect(await run(mode, place)).toEqual({ code: 0, output: 'ready to end\n' });
      } finally {
        await place.remove();
      }
    },
  );
});
