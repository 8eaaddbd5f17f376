/** One process of the tests on a shared database: does what it is told over IPC and reports what it committed. */
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import { encodeTuple } from '../../src/records/tuple.ts';
import { createSeededRandom, type SeededRandom } from '../rig/seed.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import type { ChildOrder, ChildReport } from './kv-processes.ts';

let prefix = Buffer.alloc(0);
const bytes = (text: string) => Buffer.from(text);
const keyOf = (name: string) => Buffer.concat([prefix, bytes(name)]);
const numberAt = async (tx: Transaction, key: string) =>
  Number((await tx.get(keyOf(key)))?.toString() ?? '0');
const setNumber = (tx: Transaction, key: string, value: number) => tx.set(keyOf(key), bytes(String(value)));
const report = (message: ChildReport) => process.send?.(message);

async function transfer(database: KeyValueDatabase, random: SeededRandom, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const [from, to] = [random.below(8), random.below(8)];
    await database.transact(async (tx) => {
      const balances = [await numberAt(tx, `account/${from}`), await numberAt(tx, `account/${to}`)];
      if (from === to) return;
      // Another process gets its chance between the reads and the commit.
      await new Promise((resolve) => setImmediate(resolve));
      setNumber(tx, `account/${from}`, (balances[0] ?? 0) - 1);
      setNumber(tx, `account/${to}`, (balances[1] ?? 0) + 1);
    });
  }
}

async function count(database: KeyValueDatabase, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await database.transact(async (tx) => setNumber(tx, 'counter', (await numberAt(tx, 'counter')) + 1));
  }
}

/** Two doctors: each may go off duty only while the other is on. The even process is one, the odd one the other. */
async function skew(database: KeyValueDatabase, self: number, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await database.transact(async (tx) => {
      const isOtherOn = (await numberAt(tx, `duty/${round}/${1 - self}`)) === 0;
      await new Promise((resolve) => setImmediate(resolve));
      if (isOtherOn) setNumber(tx, `duty/${round}/${self}`, 1);
    });
  }
}

async function append(database: KeyValueDatabase, self: number): Promise<void> {
  for (let index = 0; ; index++) {
    await database.transact(async (tx) =>
      tx.set(keyOf(`appended/${self}/${index}`), Buffer.alloc(500, index)),
    );
    report({ type: 'committed', index });
  }
}

async function watch(database: KeyValueDatabase, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const watched = await database.transact(async (tx) => {
      const seen = await numberAt(tx, 'ping');
      return seen > round ? undefined : tx.watch(keyOf('ping'));
    });
    report({ type: 'watching', round });
    await watched?.changed;
    await database.transact(async (tx) => setNumber(tx, 'pong', round + 1));
  }
}

async function run(order: ChildOrder): Promise<void> {
  const { address, subspace } = order.place;
  prefix = Buffer.from(encodeTuple(subspace));
  const database = order.unsafeWithoutConflictCheck
    ? await openEmbeddedDatabase({
        directory: address.replace(/^embedded:/u, ''),
        unsafeWithoutConflictCheck: true,
      })
    : await openTestDatabase(address);
  const random = createSeededRandom(order.seed);
  report({ type: 'ready' });
  await new Promise((resolve) => process.once('message', resolve));
  switch (order.task) {
    case 'transfer':
      await transfer(database, random, order.rounds);
      break;
    case 'count':
      await count(database, order.rounds);
      break;
    case 'skew':
      await skew(database, order.self, order.rounds);
      break;
    case 'append':
      await append(database, order.self);
      break;
    case 'watch':
      await watch(database, order.rounds);
      break;
  }
  await database.close();
  report({ type: 'done' });
  process.disconnect();
}

// A watch alone keeps no process alive; the channel does, until it is disconnected.
process.on('message', () => undefined);
process.once('message', (order) => {
  run(order as ChildOrder).catch((error: unknown) => {
    report({ type: 'failed', message: String(error) });
    process.exit(1);
  });
});
