import { afterEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { World } from '../rig/operators.ts';
import { createWorld, expectIndexesToBeRight, TownV1, TownV2, toV2, waitUntil } from '../rig/operators.ts';
import type { SeededRandom } from '../rig/seed.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';

const rounds = 60;
const towns = 3;
/** Transactions between the Contract handler's answer and the end of the migration, and some more. */
const lastTransactions = 8;

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

let world: World | undefined;
afterEach(() => world?.close());

/**
 * One migration, and one cancel or pause that is sent after a drawn number of its last transactions, all of them
 * delayed by drawn numbers of turns.
 */
async function race(random: SeededRandom, want: 'cancel' | 'pause'): Promise<'operator' | 'completion'> {
  const here = createWorld();
  world = here;
  await here.fill(towns);
  const delays = random.fork();
  const after = random.below(lastTransactions);
  const turnsFirst = random.below(3);
  let left: number | undefined;
  let send: () => void = () => undefined;
  const sent = new Promise<void>((resolve) => {
    send = resolve;
  });
  here.beforeTransaction = async () => {
    await turns(delays.below(3));
    if (left === undefined) return;
    if (left === 0) send();
    left -= 1;
  };
  const handlers = { migrationHandler: backfill({ transform: toV2 }) };
  const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true };
  const leader = await here.open({
    dataModelsById: { 1: TownV2 },
    ...handlers,
    ...background,
    persistMigrationAuditEvents: true,
    migrationContractHandler: () => {
      left = after;
      return Promise.resolve(MigrationOutcome.Success);
    },
  });
  const operator = await here.open({ dataModelsById: { 1: TownV1 } });
  await sent;
  await turns(turnsFirst);
  const asked = await (want === 'cancel' ? operator.cancelMigration(1) : operator.pauseMigration(1)).then(
    (status) => status,
    (error: unknown) => error,
  );

  const isAccepted = !(asked instanceof Error);
  const halted = want === 'cancel' ? 'Canceled' : 'Paused';
  const ended = isAccepted ? halted : 'Idle';
  for (const store of [leader, operator]) {
    await waitUntil(
      `the migration is ${ended}, as the operator was told`,
      async () => (await store.migrationStatus(1)).state === ended,
    );
  }
  if (!isAccepted) expect(asked).toMatchObject({ code: 'MIGRATION_NOT_PENDING' });
  const metrics = await leader.migrationMetrics(1);
  const ends = (await leader.migrationAuditEvents(1)).map(({ type }) => type).filter(isEnd);
  expect({ canceled: metrics.canceled, paused: metrics.paused, completed: metrics.completed, ends }).toEqual({
    canceled: ended === 'Canceled' ? 1 : 0,
    paused: ended === 'Paused' ? 1 : 0,
    completed: ended === 'Idle' ? 1 : 0,
    ends: [ended === 'Idle' ? 'Completed' : ended],
  });
  if (isAccepted) await leader.resumeMigration(1);
  await leader.awaitMigration(1);
  expect(await leader.model(TownV2).count()).toBe(towns);
  await expectIndexesToBeRight(here);
  await here.close();
  return isAccepted ? 'operator' : 'completion';
}

const isEnd = (type: string) => ['Paused', 'Canceled', 'Completed', 'Failed'].includes(type);

it.each(['cancel', 'pause'] as const)(
  'of a %s during the last step and completion one wins, and everybody agrees which',
  { timeout: 120_000 },
  async (want) => {
    const random = createSeededRandom(drawSeed(`${want} during the last step`));
    const winners = new Set<string>();
    for (let round = 0; round < rounds; round += 1) winners.add(await race(random, want));
    expect([...winners].toSorted()).toEqual(['completion', 'operator']);
  },
);
