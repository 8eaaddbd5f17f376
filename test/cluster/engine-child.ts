/** One process of the tests on the engine's care: does what it is told over IPC and reports what it committed. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { setTimeout } from 'node:timers/promises';
import { inspect } from 'node:util';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { KeyValueError, type KeyValueDatabase } from '../../src/kv/kv.ts';
import { createSeededRandom } from '../rig/seed.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';
import type { EngineOrder, EngineReport } from './engine-processes.ts';

const bytes = (text: string) => Buffer.from(text);
const report = (message: EngineReport) => process.send?.(message);
/** So often the slowest reader looks again. */
const readerPauseMs = 100;
let isStopped = false;
const macrotask = () => new Promise((resolve) => setImmediate(resolve));

async function compact(database: KeyValueDatabase): Promise<void> {
  if (database.compact === undefined) throw new Error('the engine has no compact()');
  await database.compact();
  report({ type: 'compacted' });
}

/** From now on the process dies before the call with that number, of all that change a directory. */
function dieBeforeCall(number: number): void {
  let calls = 0;
  for (const name of [
    'writeFileSync',
    'mkdirSync',
    'linkSync',
    'renameSync',
    'fsyncSync',
    'rmSync',
  ] as const) {
    const original = fs[name] as (...args: unknown[]) => unknown;
    Object.assign(fs, {
      [name]: (...args: unknown[]) => {
        if (++calls === number) process.kill(process.pid, 'SIGKILL');
        return original(...args);
      },
    });
  }
  syncBuiltinESMExports();
}

/** Each commit replaces all of a few hundred pairs by those of its round, so that what is half there shows. */
async function writeRound(database: KeyValueDatabase, round: number): Promise<void> {
  await database.transact(async (tx) => {
    for (let index = 0; index < 300; index++) tx.set(bytes(`pair/${index}`), Buffer.alloc(400, round % 256));
    tx.set(bytes('round'), bytes(String(round)));
  });
  report({ type: 'committed', count: round });
}

async function compactForever(database: KeyValueDatabase): Promise<void> {
  const found = await database.transact((tx) => tx.get(bytes('round')));
  for (let round = Number(found?.toString() ?? '0') + 1; !isStopped;) {
    for (let commit = 0; commit < 5; commit++) await writeRound(database, round++);
    // Some of them while it goes on.
    await Promise.all([compact(database), writeRound(database, round++)]);
  }
}

async function hold(database: KeyValueDatabase, snapshots: number): Promise<void> {
  const held = [];
  for (let index = 0; index < snapshots; index++) {
    await database.transact(async (tx) => tx.set(bytes('held'), bytes(String(index))));
    const tx = database.createTransaction();
    await tx.get(bytes('held'));
    held.push(tx);
  }
  report({ type: 'holding' });
  await new Promise(() => undefined);
}

async function load(
  database: KeyValueDatabase,
  { self, isRequest }: Extract<EngineOrder, { task: 'load' }>,
): Promise<void> {
  let committed = 0;
  const one = async (lane: number) => {
    for (let index = 0; !isStopped; index++) {
      await database.transact(
        async (tx) => tx.set(bytes(`load/${self}/${lane}/${index % 500}`), Buffer.alloc(100, index)),
        { isRequest },
      );
      committed++;
      if (committed % 1_000 === 0) report({ type: 'committed', count: committed });
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, lane) => one(lane)));
  report({ type: 'committed', count: committed });
}

/** A steady amount of data: whoever writes a key of 3,000 replaces or clears what is there. */
async function mixed(database: KeyValueDatabase, self: number, seed: number): Promise<void> {
  const random = createSeededRandom(seed);
  let committed = 0;
  const one = async () => {
    while (!isStopped) {
      const dice = random.below(10);
      await database.transact(async (tx) => {
        const key = bytes(`mixed/${self}/${random.below(3_000)}`);
        if (dice < 5) tx.set(key, Buffer.alloc(random.below(2_000), dice));
        else if (dice < 6) tx.set(key, Buffer.alloc(random.below(90_000), dice));
        else if (dice < 7) tx.clearRange(key, Buffer.concat([key, Buffer.of(0xff)]));
        else if (dice < 9) await tx.getRangeAll(key, bytes('mixed0'), { limit: 100 });
        else {
          // A slow reader, as long as others let it.
          for (let step = 0; step < 20; step++) {
            await tx.get(key);
            await macrotask();
          }
          tx.set(key, Buffer.alloc(100));
        }
      });
      committed++;
      if (committed % 100 === 0) report({ type: 'committed', count: committed });
    }
  };
  /** Somebody who reads for as long as the engine lets anybody, again and again. */
  const hold = async () => {
    while (!isStopped) {
      const tx = database.createTransaction();
      try {
        for (;;) {
          await tx.get(bytes('mixed/'));
          await setTimeout(readerPauseMs);
          if (isStopped) break;
        }
      } catch (error) {
        // Too old in the end, or the files were just opened by another process (1037): it begins again.
        if (!(error instanceof KeyValueError) || !error.retryable) throw error;
      }
      tx.cancel();
    }
  };
  await Promise.all([...Array.from({ length: 4 }, one), hold()]);
  report({ type: 'committed', count: committed });
}

async function run(order: EngineOrder): Promise<void> {
  // Snapshots that are held must not grow too old meanwhile: on a busy disk so many commits take longer than one may live.
  const clock = order.task === 'hold' ? createVirtualClock() : undefined;
  const database = await openEmbeddedDatabase({ directory: order.directory, clock });
  report({ type: 'ready' });
  switch (order.task) {
    case 'compact':
      dieBeforeCall(order.dieBefore);
      await compact(database);
      break;
    case 'compactForever':
      await compactForever(database);
      break;
    case 'hold':
      await hold(database, order.snapshots);
      break;
    case 'load':
      await load(database, order);
      break;
    case 'mixed':
      await mixed(database, order.self, order.seed);
      break;
  }
  await database.close();
  report({ type: 'done' });
  process.disconnect();
}

process.on('message', (message) => {
  if (message === 'stop') isStopped = true;
});
process.once('message', (order) => {
  run(order as EngineOrder).catch((error: unknown) => {
    // With its cause: an I/O error says little by itself.
    const failed: EngineReport = { type: 'failed', message: inspect(error) };
    // Not before it is told: what is under way over IPC is lost at the exit.
    process.send?.(failed, () => process.exit(1));
  });
});
