import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { natsBus } from '../../src/cluster/nats-bus.ts';
import type { BackfillOptions } from '../../src/migration/backfill-spec.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { AnyModel } from '../../src/model/define.ts';
import { defineModel, float64, string } from '../../src/model/index.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import type { Logger } from '../../src/telemetry/logger.ts';
import type { Log } from '../rig/log.ts';
import { createLog } from '../rig/log.ts';
import { answers, retryableError } from '../rig/migration.ts';
import type { World } from '../rig/operators.ts';
import { codeOf, createWorld, errorFrom, waitUntil } from '../rig/operators.ts';

let world: World;
let log: Log;
beforeEach(() => {
  world = createWorld();
  log = createLog();
});
afterEach(() => world.close());

/** Nobody waits before the next try. */
const atOnce = { random: { ...systemRandom, fraction: () => 0 } } as const;

const id = string({ number: 1, required: true });
const email = string({ number: 2, required: true });
const note = string({ number: 3, required: true });

const PersonV1 = defineModel({
  name: 'Person',
  version: '1.0',
  key: ['id'],
  properties: { id, email, note },
});
const PersonV2 = defineModel({
  name: 'Person',
  version: '2.0',
  key: ['id'],
  properties: { id, email, note },
  indexes: [{ name: 'byNote', on: ['note'] }],
});
const UniquePerson = defineModel({
  name: 'Person',
  version: '2.0',
  key: ['id'],
  properties: { id, email, note },
  indexes: [{ name: 'byEmail', on: ['email'], unique: true }],
});
const CountedPerson = defineModel({
  name: 'Person',
  version: '2.0',
  key: ['id'],
  properties: { id, email, note: float64({ number: 4, required: true, min: 0 }) },
});
const PersonByEmail = defineModel({
  name: 'Person',
  version: '2.0',
  key: ['email'],
  properties: { id, email, note },
});

const planted = { key: 'PLANTED-KEY', email: 'PLANTED-EMAIL', note: 'PLANTED-NOTE' } as const;
const people = [1, 2, 3].map((n) => ({
  id: `${planted.key}-${n}`,
  email: planted.email,
  note: `${planted.note}-${n}`,
}));

/** A secret as it may come out of bytes, of any alignment. */
function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .slice(4, 4 + 12),
  );
  return [secret, secret.toLowerCase(), bytes.toString('hex'), [...bytes].join(','), ...base64];
}

const foundIn = (text: string, ...secrets: readonly string[]) =>
  secrets.flatMap(formsOf).filter((form) => text.includes(form));

async function fill(): Promise<void> {
  const store = await world.open({ dataModelsById: { 1: PersonV1 } });
  for (const person of people) await store.model(PersonV1).add(person);
  await store.close();
}

/** Audit events go into the log as well. */
const logged = () => ({ logger: log.logger, migrationAuditEventReporter: undefined });

const open = (model: AnyModel, options: Partial<StoreOptions>) =>
  world.open({ dataModelsById: { 1: model }, ...logged(), ...options }, atOnce);

const same = (record: Readonly<Record<string, unknown>>) => record;
const moves = (options: Partial<BackfillOptions> = {}) => ({
  migrationHandler: backfill({ transform: same, ...options } as BackfillOptions),
});

describe('a run that goes well', () => {
  it('logs nothing above info, and each line has model, migration and epoch', async () => {
    await fill();
    const migrationExpandHandler = ({ logger }: MigrationContext) => {
      logger.info({ step: 1 }, 'the handler says');
      return Promise.resolve(MigrationOutcome.Success);
    };
    await open(PersonV2, { ...moves(), migrationExpandHandler });
    const lines = log.lines();
    expect(lines.length).toBeGreaterThan(5);
    expect(lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
    const first = lines[0];
    expect(first).toMatchObject({ model: 'Person', epoch: 1 });
    expect(String(first?.['migrationId'])).toContain('Person');
    const bound = { model: 'Person', migrationId: first?.['migrationId'], epoch: 1 };
    for (const line of lines) expect(line).toMatchObject(bound);
    expect(lines.filter(({ msg }) => msg === 'the handler says')).toMatchObject([{ step: 1 }]);
    expect(foundIn(log.text(), ...Object.values(planted))).toEqual([]);
  });

  it('says the same to a logger that can have no children', async () => {
    await fill();
    const lines: Record<string, unknown>[] = [];
    const collect = (level: string) => (about: object, msg?: string) =>
      void lines.push({ level, ...about, msg });
    const logger = Object.fromEntries(
      ['debug', 'info', 'warn', 'error'].map((level) => [level, collect(level)]),
    ) as unknown as Logger;
    const thrown = new Error('it broke');
    const migrationExpandHandler = (context: MigrationContext) => {
      context.logger.info('only a text');
      context.logger.warn(thrown);
      context.logger.warn(thrown, 'a text besides');
      return Promise.resolve(MigrationOutcome.Success);
    };
    await open(PersonV2, { ...moves(), migrationExpandHandler, logger });
    const { model, migrationId, epoch } = lines[0] ?? {};
    expect({ model, epoch }).toEqual({ model: 'Person', epoch: 1 });
    for (const line of lines) expect(line).toMatchObject({ model, migrationId, epoch });
    expect(lines.filter(({ msg, err }) => msg === 'only a text' || err !== undefined)).toEqual([
      { level: 'info', model, migrationId, epoch, msg: 'only a text' },
      { level: 'warn', model, migrationId, epoch, err: thrown, msg: 'it broke' },
      { level: 'warn', model, migrationId, epoch, err: thrown, msg: 'a text besides' },
    ]);
  });
});

const throwing = () => {
  throw new TypeError('it cannot be done');
};
const writing = (record: object) => async (context: MigrationContext) => {
  await context.write(record as never);
  return MigrationOutcome.Success;
};
const long = `${planted.note}-`.repeat(1_000);

const aboutRecords: ReadonlySet<string> = new Set([
  'TRANSFORM_FAILED',
  'TRANSFORM_REJECTED',
  'KEY_CHANGED',
  'DUPLICATE_KEY',
  'UNIQUE_VIOLATION',
  'VERIFICATION_FAILED',
]);

/** Ways to fail, each with the definition and the options that lead to it. */
const failures: readonly (readonly [
  code: string,
  how: string,
  model: AnyModel,
  options: Partial<StoreOptions>,
])[] = [
  ['TRANSFORM_FAILED', 'the transform throws', PersonV2, moves({ transform: throwing })],
  [
    'TRANSFORM_REJECTED',
    'a value of the wrong type comes out',
    CountedPerson,
    moves({ transform: ({ note: text, ...rest }) => ({ ...rest, note: text }) }),
  ],
  [
    'KEY_CHANGED',
    'another key comes out',
    PersonV2,
    moves({ transform: (person) => ({ ...person, id: planted.note }) }),
  ],
  ['DUPLICATE_KEY', 'two records come out under one key', PersonByEmail, moves()],
  ['UNIQUE_VIOLATION', 'two records have one value', UniquePerson, moves()],
  [
    'TRANSFORM_REJECTED',
    'a record comes out that is too large',
    PersonV2,
    moves({ transform: (person) => ({ ...person, email: long.repeat(80) }) }),
  ],
  [
    'TRANSFORM_REJECTED',
    'an index entry comes out that is too large',
    PersonV2,
    moves({ transform: (person) => ({ ...person, note: long }) }),
  ],
  [
    'QUARANTINE_FULL',
    'too many are set aside',
    CountedPerson,
    moves({ onPoison: 'quarantine', maxQuarantined: 1 }),
  ],
  [
    'VERIFICATION_FAILED',
    'the check refuses a record',
    PersonV2,
    { ...moves(), migrationVerification: { check: () => false } },
  ],
  [
    'VERIFICATION_FAILED',
    'the check throws what it saw',
    PersonV2,
    {
      ...moves(),
      migrationVerification: {
        check: (person: object) => {
          throw new Error(JSON.stringify(person));
        },
      },
    },
  ],
  [
    'RECORD_INVALID',
    'a handler writes what is no record',
    CountedPerson,
    { migrationHandler: writing(people[0] ?? {}) },
  ],
  [
    'UNIQUE_VIOLATION',
    'a handler writes a value twice',
    UniquePerson,
    {
      migrationHandler: async (context) => {
        for (const person of people) await context.write(person as never);
        return MigrationOutcome.Success;
      },
    },
  ],
  ['HANDLER_FAILED', 'a handler throws', PersonV2, { migrationHandler: throwing }],
  [
    'HANDLER_FAILED',
    'a handler answers Fatal',
    PersonV2,
    { migrationHandler: answers(MigrationOutcome.Fatal('it cannot be done')) },
  ],
  ['OUTCOME_INVALID', 'a handler answers a record', PersonV2, { migrationHandler: answers(() => people[0]) }],
  [
    'CURSOR_TOO_LARGE',
    'a handler answers a record as its cursor',
    PersonV2,
    { migrationHandler: answers(MigrationOutcome.Partial({ nextCursor: long })) },
  ],
  [
    'RETRIES_EXHAUSTED',
    'a handler asks for one try too many',
    PersonV2,
    {
      migrationHandler: answers(retryableError('busy'), retryableError('busy')),
      migrationRetryPolicy: { maxRetryOutcomes: 1 },
    },
  ],
  [
    'RETRIES_EXHAUSTED',
    'a phase is started once too often',
    PersonV2,
    {
      migrationHandler: answers(MigrationOutcome.Retry({ retryAfterMs: 0 })),
      migrationRetryPolicy: { maxAttempts: 1 },
    },
  ],
];

describe('a run that fails', () => {
  it.each(failures)('%s, because %s: said once, no record told', async (code, _, model, options) => {
    await fill();
    const failed = await errorFrom(open(model, options));
    expect(failed.code).toBe('MIGRATION_FAILED');
    expect(failed.message).toContain(code);
    const lines = log.lines('error');
    expect(lines).toMatchObject([{ code, model: 'Person', epoch: 1, msg: 'a migration failed' }]);
    expect(String(lines[0]?.['migrationId'])).toContain('Person');
    const text = log.text();
    expect(foundIn(text, planted.email, planted.note)).toEqual([]);
    const keys = foundIn(text, planted.key);
    // Where a record has to be found again it is named by the digits of its key.
    const names = aboutRecords.has(code);
    expect(keys).toEqual(names && keys.length > 0 ? [Buffer.from(planted.key).toString('hex')] : []);
  });

  it('with bytes that are no record tells none of them', async () => {
    await fill();
    const key = Buffer.concat([world.keys.records(1), Buffer.from('\u0002zz\u0000', 'latin1')]);
    await world.database.transact((tx) => Promise.resolve(tx.set(key, Buffer.from(planted.note))));
    expect(await codeOf(open(PersonV2, moves()))).toBe('MIGRATION_FAILED');
    expect(log.lines('error')).toMatchObject([{ code: 'TRANSFORM_REJECTED' }]);
    expect(foundIn(log.text(), ...Object.values(planted))).toEqual([]);
  });

  it('in this process alone says so once', async () => {
    await fill();
    const half = open(PersonV2, { ...moves(), migrationContractHandler: throwing });
    expect(await codeOf(half)).toBe('MIGRATION_FAILED');
    log = createLog();
    expect(await codeOf(open(UniquePerson, moves()))).toBe('MIGRATION_TARGET_CHANGED');
    expect(log.lines('error')).toMatchObject([
      { code: 'MIGRATION_TARGET_CHANGED', model: 'Person', msg: 'a migration failed in this process' },
    ]);
  });

  it('and is tried again is no error: a warning for each try', async () => {
    await fill();
    const migrationExpandHandler = answers(retryableError('busy'), retryableError('busy'));
    await open(PersonV2, { ...moves(), migrationExpandHandler });
    expect(log.lines('error')).toEqual([]);
    const tries = { code: 'HANDLER_FAILED', model: 'Person', epoch: 1, err: { message: 'busy' } };
    expect(log.lines('warn')).toMatchObject([tries, tries]);
  });

  it('because its lease was taken is a warning, and the next ownership has another epoch', async () => {
    await fill();
    const migrationExpandHandler = answers(async () => {
      await world.database.transact((tx) => Promise.resolve(tx.clear(world.keys.owner)));
      return MigrationOutcome.Success;
    });
    await open(PersonV2, { ...moves(), migrationExpandHandler });
    expect(log.lines('error')).toEqual([]);
    expect(log.lines('warn')).toMatchObject([{ code: 'LEASE_LOST', model: 'Person', epoch: 1 }]);
  });
});

it('an audit reporter that throws is a warning with the migration that it was told of', async () => {
  await fill();
  await open(PersonV2, { ...moves(), migrationAuditEventReporter: throwing });
  const lines = log.lines();
  expect(lines.length).toBeGreaterThan(5);
  for (const line of lines) {
    expect(line).toMatchObject({ level: 'warn', model: 'Person', epoch: 1, err: { type: 'TypeError' } });
    expect(line['migrationId']).toBe(lines[0]?.['migrationId']);
  }
});

it('a bus without a connection tells no credentials', async () => {
  const user = 'PLANTED-USER';
  const pass = 'PLANTED-PASSWORD';
  const servers = [`nats://${user}:${pass}@127.0.0.1:1`];
  const bus = natsBus({ servers, user, pass, logger: log.logger });
  await open(PersonV2, { bus });
  await waitUntil('it has failed', () => bus.counts.failures > 0);
  await bus.close();
  expect(log.lines('warn')).toMatchObject([{ code: 'CONNECTION_REFUSED' }]);
  const refused = await errorFrom(open(PersonV2, { bus: `nats://${user}:${pass}@127.0.0.1:1` }));
  expect(foundIn(`${log.text()} ${refused.message} ${JSON.stringify(refused.details)}`, user, pass)).toEqual(
    [],
  );
});

it('what is planted is found where it is told', async () => {
  await fill();
  const tells = ({ email: told, note: told2 }: Readonly<Record<string, unknown>>) => {
    throw new Error(`${String(told)} ${Buffer.from(String(told2)).toString('base64')}`);
  };
  await errorFrom(open(PersonV2, moves({ transform: tells })));
  expect(foundIn(log.text(), planted.email)).toContain(planted.email);
  expect(foundIn(log.text(), planted.note).length).toBeGreaterThan(0);
});
