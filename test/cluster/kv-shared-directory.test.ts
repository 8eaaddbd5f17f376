import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { encodeTuple } from '../../src/records/tuple.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';
import type { RemovablePlace } from '../rig/test-database.ts';
import { createTestPlace } from '../rig/test-database.ts';
import type { TestPlace } from '../rig/test-place.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { startKeyValueProcess, type ChildOrder, type KeyValueProcess } from './kv-processes.ts';

const seed = drawSeed('several processes on one database');
const accounts = 8;
const initialBalance = 100;

describe('several processes on one database', () => {
  let place: TestPlace;
  let own: RemovablePlace;
  let processes: KeyValueProcess[];

  beforeEach(() => {
    own = createTestPlace('kv-shared');
    place = own;
    processes = [];
  });
  afterEach(async () => {
    await Promise.all(processes.map((started) => started.kill()));
    await own.remove();
  });

  const key = (name: string) => Buffer.concat([encodeTuple(place.subspace), Buffer.from(name)]);
  const start = async (
    count: number,
    order: Pick<ChildOrder, 'task'> & Partial<ChildOrder>,
  ): Promise<void> => {
    const common = { place, rounds: 0, unsafeWithoutConflictCheck: false, ...order };
    processes = await Promise.all(
      Array.from({ length: count }, (_, self) =>
        startKeyValueProcess({ ...common, self, seed: seed + self }),
      ),
    );
  };
  const runAll = async (): Promise<void> => {
    for (const started of processes) started.go();
    await Promise.all(processes.map((started) => started.report('done')));
  };
  const withDatabase = async <T>(use: (database: KeyValueDatabase) => Promise<T>): Promise<T> => {
    const database = await openTestDatabase(place.address);
    try {
      return await use(database);
    } finally {
      await database.close();
    }
  };
  const openAccounts = () =>
    withDatabase((database) =>
      database.transact(async (tx) => {
        for (let index = 0; index < accounts; index++)
          tx.set(key(`account/${index}`), Buffer.from(String(initialBalance)));
      }),
    );
  const sumOfAccounts = () =>
    withDatabase(async (database) => {
      const pairs = await database.transact((tx) => tx.getRangeAll(key('account/'), key('account0')));
      return pairs.reduce((sum, { value }) => sum + Number(value.toString()), 0);
    });
  /** Rounds in which both doctors are off duty. */
  const brokenRounds = () =>
    withDatabase(async (database) => {
      const pairs = await database.transact((tx) => tx.getRangeAll(key('duty/'), key('duty0')));
      const rounds = pairs.map(({ key: name }) => name.toString().split('duty/')[1]?.split('/')[0]);
      return { decided: new Set(rounds).size, broken: rounds.length - new Set(rounds).size };
    });

  it('keeps the sum of all accounts while three transfer between them', async () => {
    await openAccounts();
    await start(3, { task: 'transfer', rounds: 150 });
    await runAll();
    expect(await sumOfAccounts()).toBe(accounts * initialBalance);
  });

  it('loses no update of a counter', async () => {
    await start(3, { task: 'count', rounds: 100 });
    await runAll();
    const counter = await withDatabase((database) => database.transact((tx) => tx.get(key('counter'))));
    expect(counter?.toString()).toBe('300');
  });

  it('never lets both go off duty (write skew)', async () => {
    await start(2, { task: 'skew', rounds: 200 });
    await runAll();
    expect(await brokenRounds()).toEqual({ decided: 200, broken: 0 });
  });

  it('breaks these invariants when the conflict check is off, so the checks above have teeth', async () => {
    // Only the embedded engine can be told to be wrong.
    const directory = createTemporaryDirectory('kv-unsafe');
    onTestFinished(() => directory.remove());
    place = { address: `embedded:${directory.path}`, subspace: ['unsafe'] };
    await openAccounts();
    // On a busy machine they may happen to run one after the other.
    const until = async (
      isBroken: () => Promise<boolean>,
      count: number,
      order: Pick<ChildOrder, 'task' | 'rounds'>,
    ) => {
      for (let tries = 0; tries < 10 && !(await isBroken()); tries += 1) {
        await withDatabase((database) =>
          database.transact((tx) => Promise.resolve(tx.clearRange(key('duty/'), key('duty0')))),
        );
        await start(count, { ...order, unsafeWithoutConflictCheck: true });
        await runAll();
      }
      return isBroken();
    };
    const isSumBroken = async () => (await sumOfAccounts()) !== accounts * initialBalance;
    expect(await until(isSumBroken, 3, { task: 'transfer', rounds: 150 })).toBe(true);
    const isSkewed = async () => (await brokenRounds()).broken > 0;
    expect(await until(isSkewed, 2, { task: 'skew', rounds: 200 })).toBe(true);
  });

  it('tells a watch of one process about the commit of another', async () => {
    const rounds = 20;
    await start(1, { task: 'watch', rounds });
    const [watcher] = processes;
    watcher?.go();
    await withDatabase(async (database) => {
      for (let round = 0; round < rounds; round++) {
        await watcher?.report('watching', (report) => report.type === 'watching' && report.round === round);
        const pong = await database.transact(async (tx) => {
          tx.set(key('ping'), Buffer.from(String(round + 1)));
          return tx.watch(key('pong'));
        });
        expect(await pong.changed).toBe(true);
      }
    });
    await watcher?.report('done');
  });

  it('has every commit that a killed process acknowledged, and goes on in the others', async () => {
    const random = createSeededRandom(seed);
    for (let kill = 0; kill < 3; kill++) {
      await start(2, { task: 'append', self: 0 });
      const [victim, survivor] = processes as [KeyValueProcess, KeyValueProcess];
      for (const started of processes) started.go();
      const killAt = 5 + random.below(60);
      let acknowledged = -1;
      victim.child.on('message', (message: { type: string; index?: number }) => {
        if (message.type === 'committed') acknowledged = message.index ?? acknowledged;
      });
      await victim.report('committed', (report) => report.type === 'committed' && report.index >= killAt);
      await victim.kill();
      const beyond = killAt + 40;
      await survivor.report('committed', (report) => report.type === 'committed' && report.index >= beyond);
      await survivor.kill();
      expect(acknowledged).toBeGreaterThanOrEqual(killAt);
      const [ofVictim, ofSurvivor] = await withDatabase((database) =>
        database.transact(async (tx) => {
          const counts: number[] = [];
          for (const self of [0, 1]) {
            const pairs = await tx.getRangeAll(key(`appended/${self}/`), key(`appended/${self}0`));
            counts.push(pairs.length);
          }
          return counts;
        }),
      );
      expect(ofVictim).toBeGreaterThanOrEqual(acknowledged + 1);
      expect(ofSurvivor).toBeGreaterThanOrEqual(beyond + 1);
    }
  });
});
