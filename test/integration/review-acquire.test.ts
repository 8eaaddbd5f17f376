import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { step } from '../../src/migration/step-spec.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { readFence } from '../../src/records/fence.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { createLatch, createMigrationRig, thing } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const inBackground = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const properties = {
  id: string({ number: 1, required: true }),
  name: string({ number: 2, required: true }),
  people: int32({ number: 3 }),
};
const Plain = defineModel({ name: 'Town', version: '1.0', key: ['id'], properties });
const Indexed = defineModel({
  ...Plain,
  version: '1.1',
  indexes: [{ name: 'byPeople', on: ['people'] }],
});
const towns = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ id: `t${n}`, name: `town ${n}`, people: n }));

describe('an index build', () => {
  it('that was paused before anybody began is carried out when it is resumed', async () => {
    const ThingV1 = thing('Thing', '1.0');
    const ThingV2 = thing('Thing', '2.0');
    const seed = await rig.open({ 1: ThingV1, 2: Plain });
    for (const town of towns(20)) await seed.model(Plain).add(town);
    await rig.settle(seed.close());
    const going = createLatch();
    const store = await rig.open(
      { 1: ThingV2, 2: Indexed },
      {
        ...inBackground,
        migrationMaxParallelModels: 1,
        migrationHandler: {
          Thing: async () => {
            await going.opened;
            return MigrationOutcome.Success;
          },
        },
      },
    );
    expect((await store.pauseMigration(2)).state).toBe('Paused');
    await store.resumeMigration(2);
    going.open();
    await rig.settle(store.awaitMigration(2, { timeoutMs: 60_000 }));
    expect((await rig.indexes(2, Indexed)).map(({ state }) => state)).toEqual(['ready']);
    for (const { expected, actual } of await rig.indexes(2, Indexed)) expect(actual).toEqual(expected);
  });
});

describe('a chain of versions', () => {
  const id = string({ number: 1, required: true });
  const NoteV1 = defineModel({
    name: 'Note',
    version: '1.0',
    key: ['id'],
    properties: { id, mark: string({ number: 2, required: true }) },
  });
  const NoteV11 = defineModel({
    ...NoteV1,
    version: '1.1',
    properties: { ...NoteV1.properties, hint: string({ number: 9 }) },
  });
  const NoteV2 = defineModel({
    ...NoteV1,
    version: '2.0',
    properties: { ...NoteV1.properties, size: int32({ number: 3 }) },
  });
  const NoteV3 = defineModel({ ...NoteV2, version: '3.0' });

  it('is not taken without its handlers when another program published something in between', async () => {
    const seed = await rig.open({ 1: thing('Above', '1.0'), 2: NoteV1 });
    await seed.model(NoteV1).add({ id: 'a', mark: 'x' });
    await rig.settle(seed.close());
    const going = createLatch();
    const store = await rig.open(
      { 1: thing('Above', '2.0'), 2: NoteV3 },
      {
        ...inBackground,
        migrationMaxParallelModels: 1,
        migrationHandler: {
          Above: async () => {
            await going.opened;
            return MigrationOutcome.Success;
          },
        },
        migrations: {
          Note: [
            step('1.0', '2.0', {
              dataModel: NoteV2,
              migrationHandler: backfill({
                transform: (note) => ({ ...note, mark: `${String(note['mark'])}>2` }),
              }),
            }),
            step('2.0', '3.0', {
              migrationHandler: backfill({
                transform: (note) => ({ ...note, mark: `${String(note['mark'])}>3` }),
              }),
            }),
          ],
        },
      },
    );
    const other = await rig.open({ 2: NoteV11 });
    await rig.settle(other.close());
    going.open();
    await expect(rig.settle(store.awaitMigration(2))).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      details: { lastError: { code: 'MIGRATION_STEP_MISSING' } },
    });
    const fence = await rig.database.transact((tx) => readFence(tx, rig.keysOf(2)));
    expect(fence?.state).toBe('ready');
  });
});
