import { afterEach, beforeEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { step } from '../../src/migration/step-spec.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { createMigrationRig, succeed } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const id = string({ number: 1, required: true });
const NoteV1 = defineModel({
  name: 'Note',
  version: '1.0',
  key: ['id'],
  properties: { id, mark: string({ number: 2, required: true }) },
});
const NoteV2 = defineModel({
  ...NoteV1,
  version: '2.0',
  properties: { ...NoteV1.properties, size: int32({ number: 3, required: true }) },
});
const NoteV3 = defineModel({
  ...NoteV2,
  version: '3.0',
  properties: {
    id,
    trail: string({ number: 2, required: true, alternativeNames: ['mark'] }),
    size: int32({ number: 3, required: true }),
    extra: string({ number: 4 }),
  },
});

it('a handler of a step of a chain has the model in the version that its step makes, and in no other', async () => {
  await rig.seed(NoteV1, [{ id: 'a', mark: 'x' }]);
  const refused: unknown[] = [];
  const makeV2 = async (context: MigrationContext<FoundationDBDataStore>) => {
    const { store } = context;
    await store.model(NoteV2).put({ id: 'a', mark: 'x', size: 1 });
    await store.model(NoteV2).add({ id: 'b', mark: 'y', size: 2 });
    try {
      await store.model(NoteV3).add({ id: 'c', trail: 'z', size: 3, extra: 'lost' });
    } catch (error) {
      refused.push(error);
    }
    return MigrationOutcome.Success;
  };
  const store = await rig.open(
    { 1: NoteV3 },
    {
      migrations: {
        Note: [
          step('1.0', '2.0', { dataModel: NoteV2, migrationHandler: makeV2 }),
          step('2.0', '3.0', {
            migrationHandler: backfill({ transform: ({ mark, ...note }) => ({ ...note, trail: mark }) }),
          }),
        ],
      },
    },
  );
  expect(refused).toMatchObject([{ code: 'MODEL_UNKNOWN' }]);
  expect(await store.model(NoteV3).scan().toArray()).toEqual([
    { id: 'a', trail: 'x', size: 1 },
    { id: 'b', trail: 'y', size: 2 },
  ]);
});

it('a record that was set aside in a step of a chain goes all the way when it is tried again', async () => {
  await rig.seed(NoteV1, [
    { id: 'a', mark: 'x' },
    { id: 'b', mark: 'y' },
  ]);
  const chain = (isMended: boolean) => ({
    migrations: {
      Note: [
        step('1.0', '2.0', {
          dataModel: NoteV2,
          migrationHandler: backfill({
            transform(note) {
              if (note['id'] === 'a' && !isMended) throw new Error('no');
              return { ...note, size: 1 };
            },
            onPoison: 'quarantine',
          }),
          // Keeps the steps apart.
          migrationVerifyHandler: succeed,
        }),
        step('2.0', '3.0', {
          migrationHandler: backfill({ transform: ({ mark, ...note }) => ({ ...note, trail: mark }) }),
        }),
      ],
    },
  });
  const first = await rig.open({ 1: NoteV3 }, chain(false));
  expect(await first.model(NoteV3).count()).toBe(1);
  await rig.settle(first.close());
  const mended = await rig.open({ 1: NoteV3 }, chain(true));
  expect(await rig.settle(mended.retryQuarantined(1))).toEqual({ restored: 1, left: [] });
  expect(await mended.model(NoteV3).get('a')).toEqual({ id: 'a', trail: 'x', size: 1 });
});
