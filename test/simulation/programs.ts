import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import type { MigrationHandler } from '../../src/migration/handlers.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationPhase } from '../../src/migration/state.ts';
import { migrationPhases } from '../../src/migration/state.ts';
import { step } from '../../src/migration/step-spec.ts';
import type { AnyModel } from '../../src/model/define.ts';
import { defineModel, float64, int32, reference, string } from '../../src/model/index.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import type { SeededRandom } from '../rig/seed.ts';
import type { World } from './world.ts';

/** What a node runs: everything of `open` that the simulation does not decide itself. */
export type Program = Pick<StoreOptions, 'dataModelsById'> &
  Partial<StoreOptions> & { readonly label: string };

/**
 * What the nodes of a simulated cluster run. Each record says by `hops` how often it was moved: in a record of version 2.0
 * it is 2, or it was moved twice, or not at all.
 */
const id = string({ number: 1, required: true });
const label = string({ number: 2, required: true });
const hops = int32({ number: 3, required: true });

const Item1 = defineModel({
  name: 'Item',
  version: '1.0',
  key: ['id'],
  properties: { id, label, hops },
  indexes: [{ name: 'byLabel', on: ['label'] }],
});
const Item2 = defineModel({
  ...Item1,
  version: '2.0',
  properties: { id, label, hops, size: float64({ number: 4, required: true }) },
  indexes: [
    { name: 'byLabel', on: ['label'] },
    { name: 'bySize', on: ['size'] },
  ],
});
const Item3 = defineModel({
  ...Item1,
  version: '3.0',
  properties: { id, label, hops, size: string({ number: 4, required: true }) },
  indexes: [{ name: 'bySize', on: ['size', 'label'] }],
});

/** Waits for Item. */
const Order1 = defineModel({
  name: 'Order',
  version: '1.0',
  key: ['id'],
  properties: { id, label, hops, item: reference({ number: 4, to: 'Item' }) },
});
const Order2 = defineModel({
  ...Order1,
  version: '2.0',
  properties: {
    ...Order1.properties,
    total: float64({ number: 5, required: true }),
    code: string({ number: 6, required: true }),
  },
  indexes: [
    { name: 'byLabel', on: ['label'] },
    { name: 'byCode', on: ['code'], unique: true },
  ],
});
/** Its records move to another key space. */
const Order3 = defineModel({
  ...Order2,
  version: '3.0',
  key: ['serial'],
  properties: { ...Order2.properties, serial: string({ number: 7, required: true }) },
});

/** Never migrated: its index is added while it is written. */
const Plain1 = defineModel({ name: 'Plain', version: '1.0', key: ['id'], properties: { id, label, hops } });
const Plain2 = defineModel({ ...Plain1, version: '1.1', indexes: [{ name: 'byLabel', on: ['label'] }] });

/** By the program that has them, oldest first. */
export const definitionSets: readonly Readonly<Record<number, AnyModel>>[] = [
  { 1: Item1, 2: Order1, 3: Plain1 },
  { 1: Item2, 2: Order2, 3: Plain2 },
  { 1: Item3, 2: Order3, 3: Plain2 },
];

type Values = Readonly<Record<string, unknown>>;

const answers = ['throw', 'retryable', 'retry', 'longRetry', 'sameCursor', 'slow', 'fatal'] as const;
type Answer = (typeof answers)[number];

/** What a run of the simulation makes its handlers do. */
export interface HandlerPlan {
  /** Records of these labels cannot be moved until the program is mended. */
  readonly poison: 'none' | 'fail' | 'quarantine';
  /** Some Orders get the code, and later the key, of another one until the program is mended. */
  readonly rivals: boolean;
  /** How an Order is moved. */
  readonly byHand: boolean;
  /** What hand-written handlers answer before they succeed, on whatever node they are called. */
  readonly answers: Readonly<Partial<Record<MigrationPhase, readonly Answer[]>>>;
  readonly composed: boolean;
  readonly maxAttempts: number | undefined;
  readonly verification: StoreOptions['migrationVerification'];
  /** Of all nodes alike. */
  readonly lease: Pick<StoreOptions, 'migrationLeaseTimeoutMs' | 'migrationLeaseHeartbeatMs'>;
}

export const poisonLabel = 'poison';

/** Orders that get what another one has. They come in pairs. */
export const isRival = (id: string): boolean => [0, 3].includes(Number(id.slice(1)) % 30);
const pairOf = (id: string): number => Math.floor(Number(id.slice(1)) / 30);

/** Whether a migration may put a record into quarantine. */
export const mayBeSetAside = (id: string, label: string): boolean => label === poisonLabel || isRival(id);

export interface Programs {
  /** Oldest first. */
  readonly all: readonly Program[];
  /** From now on every handler succeeds, and poison is none: a mended program, of the same definitions. */
  mend(): void;
  readonly isMended: boolean;
}

/** By version, how often a record was moved. */
export const hopsOf = (version: string): number => Number(version.split('.')[0]);

/** @param modelIds those that the programs register; all others are left out */
export function createPrograms(world: World, plan: HandlerPlan, modelIds: readonly number[]): Programs {
  const known = (name: string) => (name === 'Order' ? modelIds.includes(2) : true);
  const ofKnown = <T>(byName: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(byName).filter(([name]) => known(name)));
  const definitions = (at: number): Readonly<Record<number, AnyModel>> =>
    Object.fromEntries(
      Object.entries(definitionSets[at] ?? {}).filter(([id]) => modelIds.includes(Number(id))),
    );
  let isMended = false;
  const hop = (record: Values) => {
    if (record['label'] === poisonLabel && plan.poison !== 'none' && !isMended) throw new Error('poison');
    return { ...record, hops: (record['hops'] as number) + 1 };
  };
  const onPoison = plan.poison === 'quarantine' ? 'quarantine' : 'fail';
  const toItem2 = backfill({
    onPoison,
    transform: (record: Values) => ({ ...hop(record), size: String(record['label']).length }),
  });
  const toItem3 = backfill({
    onPoison,
    transform: (record: Values) => ({ ...hop(record), size: `${String(record['size'])} m` }),
  });
  const mark = ({ id: own }: Values, what: string): string =>
    plan.rivals && !isMended && isRival(String(own)) ? `${what} of pair ${pairOf(String(own))}` : String(own);
  const order2 = (record: Values) => ({
    ...record,
    hops: (record['hops'] as number) + 1,
    total: String(record['label']).length,
    code: `moved ${mark(record, 'code')}`,
  });
  const toOrder2 = backfill({
    onPoison,
    transform: (record: Values) => ({ ...order2(record), ...hop(record) }),
  });
  const toOrder3 = backfill({
    onPoison,
    transform: (record: Values) => ({ ...hop(record), serial: mark(record, 'key') }),
  });
  const handler = createHandler(world, plan, () => isMended);
  const byHand: MigrationHandler = async (context) => {
    const answer = await handler(context);
    // Its cursor is a record's: the one that the plan makes up would leave records out.
    if (answer.type === 'Partial') return MigrationOutcome.Partial({ message: answer.message });
    return answer.type === 'Success' ? moveOrders(context, order2) : answer;
  };
  const migrationHandler = { Item: toItem2, Order: plan.byHand ? byHand : toOrder2 };
  const handlers = {
    ...plan.lease,
    migrationExpandHandler: { Item: handler },
    migrationVerifyHandler: { Item: handler },
    migrationContractHandler: { Item: handler },
    migrationVerification: plan.verification,
    migrationRetryPolicy: plan.maxAttempts === undefined ? {} : { maxAttempts: plan.maxAttempts },
  };
  const all: Program[] = [
    { label: 'program 1', dataModelsById: definitions(0) },
    {
      label: 'program 2',
      dataModelsById: definitions(1),
      migrationHandler: ofKnown(migrationHandler),
      ...handlers,
    },
    {
      label: 'program 3',
      dataModelsById: definitions(2),
      composeMigrationSteps: plan.composed,
      migrations: ofKnown({
        Item: [
          step('1.0', '2.0', { dataModel: Item2, migrationHandler: toItem2 }),
          step('2.0', '3.0', { migrationHandler: toItem3 }),
        ],
        Order: [
          step('1.0', '2.0', { dataModel: Order2, migrationHandler: migrationHandler.Order }),
          step('2.0', '3.0', { migrationHandler: toOrder3 }),
        ],
      }),
      ...handlers,
    },
  ];
  return {
    all,
    mend() {
      isMended = true;
    },
    get isMended() {
      return isMended;
    },
  };
}

/** Gives the answers of the plan one after the other, on whatever node it is called, and succeeds from then on. */
function createHandler(world: World, plan: HandlerPlan, isMended: () => boolean): MigrationHandler {
  const left = new Map(Object.entries(plan.answers).map(([phase, given]) => [phase, [...given]]));
  return async ({ signal, cursor, migrationStatus }: MigrationContext) => {
    const answer = isMended() ? undefined : left.get(migrationStatus.phase ?? '')?.shift();
    switch (answer) {
      case 'throw':
        throw new Error('a handler that throws');
      case 'retryable':
        throw Object.assign(new Error('a handler that may succeed later'), { retryable: true });
      case 'retry':
        return MigrationOutcome.Retry({ message: 'not yet', retryAfterMs: 500 });
      case 'longRetry':
        return MigrationOutcome.Retry({ message: 'not for long', retryAfterMs: 6_000 });
      case 'sameCursor':
        return MigrationOutcome.Partial({ nextCursor: cursor ?? 'here', message: 'no further' });
      case 'fatal':
        return MigrationOutcome.Fatal('never');
      case 'slow':
        for (let turn = 0; turn < 20 && !signal.aborted; turn += 1) await world.sleep(500);
        return MigrationOutcome.Success;
      case undefined:
        return MigrationOutcome.Success;
    }
  };
}

/** Record and cursor in one commit. */
async function moveOrders(
  context: MigrationContext,
  transform: (record: Values) => Values,
): Promise<MigrationOutcome> {
  for await (const { record, version, cursor } of context.records({ after: context.cursor })) {
    if (context.signal.aborted) break;
    await context.transact(async (tx) => {
      if (version === '1.0') await tx.write(transform(record));
      tx.advance(cursor, { records: 1 });
    });
  }
  return context.signal.aborted
    ? MigrationOutcome.Partial({ message: 'told to stop' })
    : MigrationOutcome.Success;
}

export function modelOf({ dataModelsById }: Program, modelId: number): AnyModel {
  const model = (dataModelsById as Readonly<Record<number, AnyModel>>)[modelId];
  if (model === undefined) throw new Error(`there is no model ${modelId}`);
  return model;
}

export function drawPlan(random: SeededRandom): HandlerPlan {
  const byHand = random.below(3) === 0;
  return {
    poison: random.pick(['none', 'none', 'fail', 'quarantine']),
    // Of what was moved by hand the index is filled afterwards: a mended program moves nothing again.
    rivals: !byHand && random.below(2) === 0,
    byHand,
    answers: Object.fromEntries(
      migrationPhases
        .filter(() => random.below(3) === 0)
        .map((phase) => [phase, Array.from({ length: 1 + random.below(3) }, () => random.pick(answers))]),
    ),
    composed: random.below(2) === 0,
    maxAttempts: random.below(5) === 0 ? 3 : undefined,
    lease: random.pick([
      {},
      { migrationLeaseTimeoutMs: 1_000, migrationLeaseHeartbeatMs: 250 },
      { migrationLeaseTimeoutMs: 3_000, migrationLeaseHeartbeatMs: 200 },
    ]),
    verification: random.pick(['full', 'full', 'off', { sampleRatio: 0.3 }]),
  };
}
