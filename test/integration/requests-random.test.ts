import { expect, it } from 'vitest';
import type { GodwitException } from '../../src/errors.ts';
import { defineModel, enumeration, float64, int64, list, string } from '../../src/model/index.ts';
import type { InputOf } from '../../src/model/index.ts';
import { recomputeIndexes } from '../rig/recompute-index.ts';
import { openProgram } from '../rig/requests.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';

const Thing = defineModel({
  name: 'Thing',
  version: '1.0',
  key: ['group', 'id'],
  properties: {
    group: string({ number: 1, required: true }),
    id: int64({ number: 2, required: true }),
    weight: float64({ number: 3 }),
    tags: list({ number: 4, of: enumeration({ cases: { a: 1, b: 2, c: 3 } }) }),
    code: string({ number: 5 }),
  },
  indexes: [
    { name: 'byWeight', on: [{ property: 'weight', reversed: true }, 'code'] },
    { name: 'byTag', on: ['tags', { property: 'weight', reversed: false }] },
    { name: 'byCode', on: ['code'], unique: true },
    { name: 'byTagInGroup', on: ['group', 'tags'], unique: true },
  ],
});
type ThingInput = InputOf<typeof Thing>;

it('does what a plain map would do, and keeps every index exact, whatever the operations', async () => {
  const random = createSeededRandom(drawSeed('random requests'));
  const program = await openProgram({ 1: Thing });
  const things = program.model(Thing);
  const model = new Map<string, ThingInput>();
  const nameOf = ({ group, id }: { group: string; id: bigint }) => `${group}/${id}`;

  const maybe = <T>(draw: () => T) => (random.below(3) === 0 ? undefined : draw());
  const drawKey = () => ({ group: random.pick(['', 'x', 'x\0', 'xy']), id: BigInt(random.below(8) - 4) });
  const drawRest = () => ({
    weight: maybe(() => random.pick([-0, 0, -1.5, 2, 1e300, -1e-300])),
    tags: maybe(() => Array.from({ length: random.below(4) }, () => random.pick(['a', 'b', 'c'] as const))),
    code: maybe(() => `c${random.below(12)}`),
  });
  const defined = <T extends object>(record: T): T =>
    Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;

  /** Whether another record holds a value that `record` would hold in a unique index. */
  const isTaken = (record: ThingInput) =>
    [...model.values()].some(
      (other) =>
        nameOf(other) !== nameOf(record) &&
        ((record.code !== undefined && other.code === record.code) ||
          (other.group === record.group && record.tags?.some((tag) => other.tags?.includes(tag)) === true)),
    );
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'done',
      (error: GodwitException) => error.code,
    );

  const changeCode = (known: ThingInput | undefined, changed: ThingInput) => {
    if (known === undefined) return 'RECORD_NOT_FOUND';
    return isTaken(changed) ? 'UNIQUE_VIOLATION' : 'done';
  };

  /** Does one operation to both, and answers what each of them said. */
  const step = async (): Promise<{ readonly expected: unknown; readonly actual: unknown }> => {
    const key = drawKey();
    const known = model.get(nameOf(key));
    const record: ThingInput = defined({ ...key, ...drawRest() });
    switch (random.pick(['add', 'put', 'put', 'change', 'change', 'delete', 'get'] as const)) {
      case 'add': {
        const refusal = isTaken(record) ? 'UNIQUE_VIOLATION' : 'done';
        const expected = known === undefined ? refusal : 'RECORD_EXISTS';
        if (expected === 'done') model.set(nameOf(key), record);
        return { expected, actual: await codeOf(things.add(record)) };
      }
      case 'put': {
        const expected = isTaken(record) ? 'UNIQUE_VIOLATION' : 'done';
        if (expected === 'done') model.set(nameOf(key), record);
        return { expected, actual: await codeOf(things.put(record)) };
      }
      case 'change': {
        const change = drawRest();
        const changed: ThingInput = defined({ ...(known ?? record), ...change });
        const expected = changeCode(known, changed);
        if (expected === 'done') model.set(nameOf(key), changed);
        const call = random.below(2) === 0 ? things.change(key, change) : things.change(key, () => change);
        return { expected, actual: await codeOf(call) };
      }
      case 'delete':
        return { expected: model.delete(nameOf(key)), actual: await things.delete(key) };
      case 'get':
        return { expected: known, actual: await things.get(key) };
    }
  };

  for (let n = 0; n < 1_500; n += 1) {
    const { expected, actual } = await step();
    expect(actual).toEqual(expected);
  }

  expect(model.size).toBeGreaterThan(0);
  const stored = await things.scan({ pageSize: 7 }).toArray();
  expect(new Map(stored.map((record) => [nameOf(record), record]))).toEqual(model);
  for (const { expected, actual } of await recomputeIndexes(program.database, program.keys.model(1))) {
    expect(actual).toEqual(expected);
  }
  const heaviest = await things.scan({ by: 'byWeight', range: { gte: -1.5 } }).toArray();
  const weights = heaviest.map(({ weight }) => weight ?? Number.NaN);
  expect(weights).toEqual(weights.toSorted((a, b) => b - a));
  expect(weights).toHaveLength([...model.values()].filter(({ weight }) => (weight ?? -2) >= -1.5).length);
  await program.database.close();
});
