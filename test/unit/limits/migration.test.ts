import { describe, expect, it } from 'vitest';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { limits } from '../../../src/limits.ts';
import { streamEvents } from '../../../src/store/event-stream.ts';
import type { MigrationEvent } from '../../../src/migration/events.ts';
import { createChunkRunner } from '../../../src/migration/passes/chunk-runner.ts';
import type { ChunkControl } from '../../../src/migration/passes/controller.ts';
import { gentleRecords, nextChunkControl } from '../../../src/migration/passes/controller.ts';
import type { RangeRow } from '../../../src/migration/passes/ledger.ts';
import { createRange, planRanges, writeRange } from '../../../src/migration/passes/ledger.ts';
import { leastSplitRecords, splitRange } from '../../../src/migration/passes/split.ts';
import type { TransformPool } from '../../../src/migration/runtime.ts';
import { createWorkerPool, WorkerCrashed, WorkerPoolClosed } from '../../../src/ports/pool.ts';
import { compileTransform } from '../../../src/records/chunk-transform.ts';
import { packRecords } from '../../../src/records/chunk-format.ts';
import { createStoreKeys, rangeOf } from '../../../src/records/keys.ts';
import { createRecordCodec } from '../../../src/records/record-codec.ts';
import type { TransformAnswer, TransformTask } from '../../../workers/transform.ts';
import { createCompiledSetups } from '../../../workers/transform.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';
import { definition } from '../records/definition.ts';

describe('the next chunk', () => {
  const records = 1_000;
  const after = (cost: { bytes?: number; mutations?: number; tookMs?: number }): ChunkControl =>
    nextChunkControl({ records }, { type: 'committed', records, bytes: 1, mutations: 1, tookMs: 0, ...cost });

  it('has as many records as it may, and never one more', () => {
    const { value } = limits.chunk.records;
    const grown = (from: number) =>
      nextChunkControl(
        { records: from },
        { type: 'committed', records: from, bytes: 1, mutations: 1, tookMs: 0 },
      ).records;
    expect(grown(value - 1)).toBe(value);
    expect(grown(value)).toBe(value);
  });

  it.each([
    ['bytes', limits.chunk.bytes.value],
    ['mutations', limits.chunk.mutations.value],
    ['tookMs', limits.chunk.targetMs.value],
  ])(
    'is as large as the last one that had all the %s it may, and smaller behind one that had more',
    (of, value) => {
      expect(after({ [of]: value }).records).toBe(records);
      expect(after({ [of]: value + 1 }).records).toBe(records - 1);
    },
  );
});

describe('the next chunk while requests come in', () => {
  const records = 1_000;
  const after = (cost: { bytes?: number; mutations?: number }): number =>
    gentleRecords(
      nextChunkControl(
        { records },
        { type: 'committed', records: 100, bytes: 100, mutations: 100, tookMs: 0, ...cost },
      ),
    );

  it.each([
    ['bytes', limits.chunk.gentleBytes.value],
    ['mutations', limits.chunk.gentleMutations.value],
  ])('is as large as one that has all the %s it may, and never larger', (of, value) => {
    expect(after({ [of]: value })).toBe(100);
    expect(after({ [of]: value + 1 })).toBe(99);
    // A single record may pass it.
    expect(after({ [of]: value * 1_000 })).toBe(1);
  });

  it('is as any other before anything is known of the records', () => {
    expect(gentleRecords({ records })).toBe(records);
  });
});

describe('the ranges of a pass', () => {
  const { value } = limits.migration.ranges;
  /** So many rows, each large enough for a range. */
  const plan = async (count: number) => {
    const database = openMemoryDatabase();
    const slice = { begin: Buffer.from('r'), end: Buffer.from('s') };
    for (let n = 0; n < count; n += 1) {
      await database.transact(async (tx) => {
        for (let part = 0; part < 3; part += 1) {
          tx.set(Buffer.from(`r${String(n).padStart(4, '0')}${part}`), Buffer.alloc(99_000));
        }
      });
    }
    const rows = await planRanges(database, slice);
    await database.close();
    expect(rows.at(-1)?.end).toBe(slice.end.toString('base64'));
    return rows.length;
  };

  it('are as many as they may be, and no more however much there is', async () => {
    expect(await plan(value + 10)).toBe(value);
    expect(await plan(value * 2)).toBe(value);
  });
});

describe('ranges that are cut', () => {
  const { value } = limits.migration.splitRanges;
  const keys = createStoreKeys(['cut']).model(1);
  const slice = rangeOf(keys.records(1));
  const keyOf = (n: number) => Buffer.concat([slice.begin, Buffer.from(String(n).padStart(5, '0'))]);
  /** Whether one of so many is cut. */
  const isCut = async (ranges: number) => {
    const database = openMemoryDatabase();
    const first: RangeRow = {
      ...createRange(slice, 100),
      claimSeq: 1,
      claim: { session: 'mover', claimSeq: 1 },
    };
    const done = { ...createRange({ begin: slice.end, end: slice.end }, 1), done: true, share: 1 };
    const rows = [first, ...Array.from({ length: ranges - 1 }, () => done)];
    await database.transact((tx) => {
      for (let n = 0; n < 5_000; n += 1) tx.set(keyOf(n), Buffer.alloc(100));
      rows.forEach((row, number) => writeRange(tx, keys, 'backfill', number, row));
      return Promise.resolve();
    });
    const cut = await database.transact((tx) =>
      splitRange(tx, {
        keys,
        pass: 'backfill',
        rows,
        session: 'thief',
        leastRecords: leastSplitRecords,
      }),
    );
    await database.close();
    return cut?.number;
  };

  it('become as many as they may be, and none is cut any more', async () => {
    expect(await isCut(value - 1)).toBe(value - 1);
    expect(await isCut(value)).toBeUndefined();
  });
});

describe('a chunk whose thread ends', () => {
  /** A pool whose threads end so often. */
  const crashing = (crashes: number) => {
    let left = crashes;
    const run = () => {
      left -= 1;
      if (left >= 0) return Promise.reject(new WorkerCrashed('exited', 'a thread ended'));
      return Promise.resolve({ kind: 'checked' } satisfies TransformAnswer);
    };
    const pool: TransformPool = { run, threads: 0, completed: 0, close: () => Promise.resolve() };
    return createChunkRunner<null, string>({
      clock: createVirtualClock(),
      pool,
      task: () => ({ task: { kind: 'check' } as unknown as TransformTask, transfer: [] }),
      resultOf: () => ({ result: 'done', cpuMs: 1 }),
    });
  };

  it('is tried as often as it may, and then fails', async () => {
    const { value } = limits.pool.crashes;
    await expect(crashing(value - 1).run(() => null, 1)).resolves.toMatchObject({ result: 'done' });
    await expect(crashing(value).run(() => null, 1)).rejects.toMatchObject({ code: 'TRANSFORM_FAILED' });
  });
});

describe('a worker pool', () => {
  it('takes as many threads as it may have, and one more is refused', async () => {
    await createWorkerPool({ maxThreads: limits.pool.threads.value }).close();
    expect(() => createWorkerPool({ maxThreads: limits.pool.threads.value + 1 })).toThrow(RangeError);
  });

  it('lets as many tasks wait as may, and one more is refused', async () => {
    const pool = createWorkerPool<{ readonly kind: string }, unknown>({ maxThreads: 1 });
    const running = pool.run({ kind: 'none' });
    const waiting = Array.from({ length: limits.pool.waitingTasks.value }, () => pool.run({ kind: 'none' }));
    await expect(pool.run({ kind: 'none' })).rejects.toThrow('1000 tasks wait');
    const [ended] = await Promise.all([Promise.allSettled([running, ...waiting]), pool.close()]);
    const reasons = ended.map((one) => (one.status === 'rejected' ? (one.reason as unknown) : undefined));
    expect(reasons.slice(1).every((reason) => reason instanceof WorkerPoolClosed)).toBe(true);
  });
});

describe('setups that a thread has compiled', () => {
  it('are kept up to their bound, and one more drops the one used longest ago', async () => {
    const setups = createCompiledSetups<string>();
    const compiled: string[] = [];
    const get = (name: string) =>
      setups.get(name, () => {
        compiled.push(name);
        return Promise.resolve(name);
      });
    const names = Array.from({ length: limits.pool.compiledSetups.value }, (_, n) => `setup ${n}`);
    for (const name of [...names, ...names]) await get(name);
    expect(compiled).toEqual(names);
    await get('one more');
    for (const name of names.slice(1)) await get(name);
    expect(compiled).toEqual([...names, 'one more']);
    await get('setup 0');
    expect(compiled.at(-1)).toBe('setup 0');
  });
});

describe('a reader of events that is slow', () => {
  it('finds as many as are kept, and one more costs it the oldest', async () => {
    const { value } = limits.store.waitingEvents;
    const seenOf = async (count: number) => {
      let receive: (event: MigrationEvent) => void = () => undefined;
      let end: () => void = () => undefined;
      const stream = streamEvents(
        {
          subscribe(onEvent, onEnd) {
            receive = onEvent;
            end = onEnd ?? end;
            return () => undefined;
          },
        },
        undefined,
      );
      for (let seq = 1; seq <= count; seq += 1) receive({ type: 'metrics', seq } as MigrationEvent);
      end();
      const seen = [];
      for await (const event of stream) seen.push(event.seq);
      return seen;
    };
    const full = await seenOf(value);
    expect([full.length, full[0], full.at(-1)]).toEqual([value, 1, value]);
    const over = await seenOf(value + 1);
    expect([over.length, over[0], over.at(-1)]).toEqual([value, 2, value + 1]);
  });
});

describe('why a transform refused a record', () => {
  const { value } = limits.migration.reasonLength;
  const data = definition([['id', 1, { kind: 'string' }]]);
  const messageOf = (thrown: string) => {
    const prefix = Buffer.from('r');
    const chunk = packRecords(
      [{ key: Buffer.from('rk'), value: createRecordCodec(data).encode({ id: 'k' }, 1) }],
      prefix.length,
    );
    const transform = compileTransform(
      {
        id: 'setup',
        modelName: 'City',
        stored: [{ schemaId: 1, version: '1.0', data }],
        target: { schemaId: 2, version: '2.0', data },
        references: {},
        sourcePrefix: prefix,
        targetPrefix: prefix,
        keyChanged: false,
        indexes: [],
        onPoison: 'fail',
        quarantinePrefix: Buffer.from('q'),
      },
      () => {
        throw new Error(thrown);
      },
    );
    return transform({ records: chunk }).failures[0]?.message ?? '';
  };

  it('is told up to its length, and one more is cut', () => {
    const rest = messageOf('').length;
    const fits = 'x'.repeat(value - rest);
    expect(messageOf(fits)).toBe(messageOf('') + fits);
    expect(messageOf(`${fits}x`)).toHaveLength(value);
    expect(messageOf(`${fits}x`)).toMatch(/x…$/);
  });
});
