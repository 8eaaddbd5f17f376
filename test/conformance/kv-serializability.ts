import { describe, expect, it } from 'vitest';
import { KeyValueError, type KeyValueDatabase, type KeyValueTransaction } from '../../src/kv/kv.ts';
import { createSeededRandom, drawSeed, type SeededRandom } from '../rig/seed.ts';
import { k, readAll, show, textOf, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

/** One step of a transaction, with what it read: enough to do it again on the model. */
type Step =
  | { readonly type: 'get'; readonly name: string; readonly seen: string | undefined }
  | {
      readonly type: 'range';
      readonly begin: string;
      readonly end: string;
      readonly limit: number;
      readonly reverse: boolean;
      readonly seen: string;
    }
  | { readonly type: 'set'; readonly name: string; readonly value: string }
  | { readonly type: 'clear'; readonly name: string }
  | { readonly type: 'clearRange'; readonly begin: string; readonly end: string }
  | { readonly type: 'add'; readonly name: string };

interface History {
  /** 10 bytes, for those that wrote: the order of commits. For readers, the version they read at and the top order. */
  readonly position: string;
  readonly steps: readonly Step[];
}

type Model = Map<string, string>;
const names = ['', '\0', 'a', 'a\0', 'a\xff', 'b', 'c', 'cc', 'd', '\xff'];
const isBelow = (left: string, right: string) => left < right;
const addOne = (value: string | undefined) => String.fromCharCode(((value ?? '\0').charCodeAt(0) + 1) & 0xff);

export function describeSerializability(driver: DriverUnderTest): void {
  describe('any mix of transactions', () => {
    const use = useDatabase(driver);

    it('comes out as if they had run one after the other, in the order of their versionstamps', async () => {
      const random = createSeededRandom(drawSeed(`${driver.name} serializability`));
      const histories: History[] = [];
      const counts = { conflicts: 0 };
      const actors = Array.from({ length: 6 }, () => runActor(use.db, random.fork(), histories, counts));
      await Promise.all(actors);
      // Something must have been at stake.
      expect(counts.conflicts).toBeGreaterThan(0);
      expect(histories.length).toBeGreaterThan(100);
      const model: Model = new Map();
      const inOrder = histories.toSorted((x, y) => (x.position < y.position ? -1 : 1));
      expect(inOrder.flatMap(({ steps }) => replay(steps, model))).toEqual([]);
      expect(await readAll(use.db)).toBe(showModel(model));
    });
  });
}

async function runActor(
  db: KeyValueDatabase,
  random: SeededRandom,
  histories: History[],
  counts: { conflicts: number },
): Promise<void> {
  for (let round = 0; round < 40; round++) {
    const tx = db.createTransaction();
    try {
      const steps: Step[] = [];
      const length = 1 + random.below(6);
      for (let step = 0; step < length; step++) {
        steps.push(await takeStep(tx, random));
        // Others get in between the steps.
        if (random.below(3) === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      const readVersion = await tx.getReadVersion();
      const stamp = tx.getVersionstamp();
      await tx.commit();
      const isReader = tx.getCommittedVersion() === -1n;
      histories.push({
        position: isReader ? readerPosition(readVersion) : (await stamp).toString('latin1'),
        steps,
      });
    } catch (error) {
      if (!(error instanceof KeyValueError) || error.code !== 1020) throw error;
      counts.conflicts++;
    } finally {
      tx.cancel();
    }
  }
}

function readerPosition(version: bigint): string {
  const bytes = Buffer.alloc(11, 0xff);
  bytes.writeBigUInt64BE(version);
  return bytes.toString('latin1');
}

async function takeStep(tx: KeyValueTransaction, random: SeededRandom): Promise<Step> {
  const name = random.pick(names);
  const [begin = '', end = ''] = [random.pick(names), random.pick(names)].toSorted();
  switch (random.below(8)) {
    case 0:
    case 1:
      return { type: 'get', name, seen: textOf(await tx.get(k(name))) };
    case 2:
    case 3: {
      const limit = 1 + random.below(4);
      const reverse = random.below(2) === 0;
      return {
        type: 'range',
        begin,
        end,
        limit,
        reverse,
        seen: show(await tx.getRangeAll(k(begin), k(end), { limit, reverse })),
      };
    }
    case 4: {
      tx.clear(k(name));
      return { type: 'clear', name };
    }
    case 5: {
      tx.clearRange(k(begin), k(end));
      return { type: 'clearRange', begin, end };
    }
    case 6: {
      tx.atomicOp('add', k(name), Buffer.from([1]));
      return { type: 'add', name };
    }
    default: {
      const value = String.fromCharCode(random.below(256));
      tx.set(k(name), v(value));
      return { type: 'set', name, value };
    }
  }
}

/** Does the steps on the model; answers those that had read something else. */
function replay(steps: readonly Step[], model: Model): { readonly step: Step; readonly expected: unknown }[] {
  const differences: { step: Step; expected: unknown }[] = [];
  for (const step of steps) {
    const expected = replayStep(step, model);
    if ('seen' in step && step.seen !== expected) differences.push({ step, expected });
  }
  return differences;
}

/** Answers what a reading step should have seen. */
function replayStep(step: Step, model: Model): string | undefined {
  switch (step.type) {
    case 'get':
      return model.get(step.name);
    case 'range': {
      const inside = sorted(model).filter(([name]) => !isBelow(name, step.begin) && isBelow(name, step.end));
      const ordered = step.reverse ? inside.toReversed() : inside;
      return ordered
        .slice(0, step.limit)
        .map(([name, value]) => `${name}=${value}`)
        .join(' ');
    }
    case 'set':
      model.set(step.name, step.value);
      return undefined;
    case 'clear':
      model.delete(step.name);
      return undefined;
    case 'clearRange':
      for (const name of model.keys()) {
        if (!isBelow(name, step.begin) && isBelow(name, step.end)) model.delete(name);
      }
      return undefined;
    case 'add':
      model.set(step.name, addOne(model.get(step.name)));
      return undefined;
  }
}

const sorted = (model: Model) => [...model].toSorted(([x], [y]) => (isBelow(x, y) ? -1 : 1));
const showModel = (model: Model) =>
  sorted(model)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');
