import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import { localBus } from '../../src/cluster/local-bus.ts';
import { limits } from '../../src/limits.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { defineModel } from '../../src/model/index.ts';
import type { ControlReply } from '../../src/remote/replies.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  createBarrier,
  createWorld,
  heldHandler,
  RegionV1,
  TownV2,
  toV2,
  waitUntil,
} from '../rig/operators.ts';
import { expectWellFormed, malformed } from '../rig/subject-schemas.ts';

const models = { 1: TownV2, 2: RegionV1 };

let world: World;
let barrier: Barrier;
let bus: WholeMessageBus;
/** Of all that was published. */
let problems: (string | undefined)[];
beforeEach(() => {
  problems = [];
  world = createWorld();
  barrier = createBarrier();
  bus = localBus();
  bus.subscribe('godwit.>', (payload, subject) => {
    if (!subject.includes('.control.')) problems.push(malformed(subject, payload));
  });
});
afterEach(async () => {
  barrier.open();
  await world.close();
  const problem = problems.find((one) => one !== undefined);
  if (problem !== undefined) throw new Error(problem);
});

/** Held in Expand. */
async function openHeld(options: Partial<Parameters<World['open']>[0]> = {}): Promise<FoundationDBDataStore> {
  barrier.shut();
  const store = await world.open({
    dataModelsById: models,
    migrationExpandHandler: heldHandler(barrier),
    migrationHandler: { Town: backfill({ transform: toV2 }) },
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    persistMigrationAuditEvents: true,
    storeName: 'geo',
    nodeId: 'node-a',
    bus,
    ...options,
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  return store as unknown as FoundationDBDataStore;
}

async function ask(about: string, body: string | object = ''): Promise<ControlReply> {
  const payload = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  const reply = await bus.request(`godwit.geo.control.${about}`, payload, { timeoutMs: 10_000 });
  expectWellFormed('reply', reply);
  return JSON.parse(Buffer.from(reply).toString()) as ControlReply;
}

const audited = async (store: FoundationDBDataStore, type: string) =>
  (await store.migrationAuditEvents(1)).filter((event) => event.type === type);

describe('a control request', () => {
  beforeEach(() => world.fill(250));

  it('pauses, resumes and cancels as the operator calls do, and tells status and revision', async () => {
    const store = await openHeld();
    const paused = await ask('1.pause', { by: 'ann', reason: 'lunch' });
    expect(paused).toMatchObject({
      v: 1,
      store: 'geo',
      nodeId: 'node-a',
      accepted: true,
      modelId: 1,
      modelName: 'Town',
      revision: 1,
      status: { intentRevision: 1, reason: { code: 'pausing', message: 'lunch (by ann)' } },
    });
    barrier.open();
    await waitUntil('it is paused', async () => (await store.migrationStatus(1)).state === 'Paused');
    expect(await ask('1.status')).toMatchObject({ accepted: true, revision: 1, status: { state: 'Paused' } });
    barrier.shut();
    world.beforeChunk = () => barrier.pass();
    expect(await ask('byName.resume', { model: 'Town' })).toMatchObject({ accepted: true, revision: 2 });
    expect(await ask('1.cancel')).toMatchObject({ accepted: true, revision: 3 });
    barrier.open();
    await waitUntil('it is canceled', async () => (await store.migrationStatus(1)).state === 'Canceled');
    const [event] = await audited(store, 'Paused');
    expect(event?.message).toBe('lunch (by ann)');
  });

  it('is accepted where all is as it is asked for already, and changes nothing', async () => {
    const store = await openHeld();
    expect(await ask('1.pause')).toMatchObject({ accepted: true, revision: 1 });
    expect(await ask('1.pause')).toMatchObject({ accepted: true, revision: 1 });
    expect((await store.migrationStatus(1)).intentRevision).toBe(1);
  });

  it('is carried out once under one id, and answered the same for good', async () => {
    const store = await openHeld();
    const first = await ask('1.pause', { requestId: 'r-1' });
    barrier.open();
    await waitUntil('it is paused', async () => (await store.migrationStatus(1)).state === 'Paused');
    expect(await ask('1.resume', { requestId: 'r-2' })).toMatchObject({ accepted: true, revision: 2 });
    await store.awaitMigration(1);
    // Comes late, from somewhere: nothing is paused by it.
    expect(await ask('1.pause', { requestId: 'r-1' })).toEqual(first);
    expect((await store.migrationStatus(1)).state).toBe('Idle');
    expect(await audited(store, 'Paused')).toHaveLength(1);
  });

  it('is answered the same by a store that was not there', async () => {
    const store = await openHeld();
    const first = await ask('1.pause', { requestId: 'r-1' });
    barrier.open();
    await store.close();
    await openHeldLater();
    const { nodeId, ...again } = await ask('1.pause', { requestId: 'r-1' });
    expect(nodeId).toBe('node-b');
    expect({ ...again, nodeId: 'node-a' }).toEqual(first);
  });

  const openHeldLater = () =>
    world.open({
      dataModelsById: models,
      migrationHandler: { Town: backfill({ transform: toV2 }) },
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
      storeName: 'geo',
      nodeId: 'node-b',
      bus,
    });

  it('tells the revision that it wrote, also of what another program had begun', async () => {
    world.beforeChunk = () => barrier.pass();
    // Nothing is touched: canceled, the model is open again, and the other program has its own way before it.
    const store = await openHeld({ migrationExpandHandler: undefined });
    await ask('1.pause');
    barrier.open();
    await waitUntil('it is paused', async () => (await store.migrationStatus(1)).state === 'Paused');
    await store.close();
    await world.open({
      dataModelsById: { ...models, 1: defineModel({ ...TownV2, version: '3.0' }) },
      migrationHandler: { Town: backfill({ transform: toV2 }) },
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
      migrationRole: 'wait',
      storeName: 'geo',
      nodeId: 'node-b',
      bus,
    });
    const reply = await ask('1.cancel', { requestId: 'r-1' });
    expect(reply).toMatchObject({ accepted: true, revision: 2, nodeId: 'node-b' });
    expect(await ask('1.cancel', { requestId: 'r-1' })).toEqual(reply);
  });

  it('of an id that was another one is refused', async () => {
    const store = await openHeld();
    await ask('1.pause', { requestId: 'r-1' });
    const refused = await ask('1.cancel', { requestId: 'r-1' });
    expect(refused).toMatchObject({ accepted: false, code: 'REQUEST_ID_REUSED', retryable: false });
    expect((await store.migrationStatus(1)).intentRevision).toBe(1);
  });

  it('is remembered as long as it may be, and forgotten behind one more', async () => {
    const { value } = limits.migration.keptAnswers;
    await openHeld();
    for (let n = 0; n < value; n += 1) await ask('1.pause', { requestId: `r-${n}` });
    expect(await ask('1.cancel', { requestId: 'r-0' })).toMatchObject({ code: 'REQUEST_ID_REUSED' });
    await ask('1.pause', { requestId: `r-${value}` });
    expect(await ask('1.cancel', { requestId: 'r-1' })).toMatchObject({ code: 'REQUEST_ID_REUSED' });
    expect(await ask('1.cancel', { requestId: 'r-0' })).toMatchObject({ accepted: true, revision: 2 });
  });

  it('for a model with nothing to do is refused, and stays refused under its id', async () => {
    await openHeld();
    const refused = await ask('2.pause', { requestId: 'r-1' });
    expect(refused).toMatchObject({
      accepted: false,
      code: 'MIGRATION_NOT_PENDING',
      modelName: 'Region',
      status: { state: 'Idle' },
    });
    expect(await ask('2.pause', { requestId: 'r-1' })).toEqual(refused);
  });

  it('that comes while the store closes is refused for now: another node may carry it out', async () => {
    const store = await openHeld();
    const asking = ask('1.pause', { requestId: 'r-1' });
    barrier.open();
    const closing = store.close();
    expect(await asking).toMatchObject({
      accepted: false,
      code: 'CONTROL_FAILED',
      retryable: true,
      requestId: 'r-1',
    });
    await closing;
  });

  it('is refused for now where too many are under way, and carried out once there are fewer', async () => {
    const store = await openHeld();
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    world.beforeTransaction = () => held;
    const max = limits.cluster.controlsAtOnce.value;
    const first = Array.from({ length: max }, () => ask('1.pause'));
    const beyond = await Promise.all(Array.from({ length: 10 }, () => ask('1.pause')));
    for (const reply of beyond) {
      expect(reply).toMatchObject({ accepted: false, code: 'CONTROL_BUSY', retryable: true });
    }
    release();
    for (const reply of await Promise.all(first)) {
      expect(reply).toMatchObject({ accepted: true, revision: 1 });
    }
    expect(await ask('1.pause')).toMatchObject({ accepted: true, revision: 1 });
    expect((await store.migrationStatus(1)).intentRevision).toBe(1);
  });

  it('keeps the answers of so many requests, and forgets the oldest', async () => {
    const store = await openHeld();
    const kept = limits.migration.keptAnswers.value;
    const verbs = ['pause', 'resume'];
    for (let n = 0; n <= kept; n += 1) {
      await ask(`1.${verbs[n % 2] ?? ''}`, { requestId: `r-${n}` });
    }
    expect(await ask('1.resume', { requestId: 'r-1' })).toMatchObject({ accepted: true, revision: 2 });
    expect((await store.migrationStatus(1)).intentRevision).toBe(kept + 1);
    // Forgotten: carried out as if it had never come. It is as it asks for already, so nothing is written for it.
    expect(await ask('1.resume', { requestId: 'r-0' })).toMatchObject({ accepted: true, revision: kept + 2 });
  });

  it('lists the models for all', async () => {
    await openHeld();
    expect(await ask('all.status')).toMatchObject({
      accepted: true,
      models: [
        { modelId: 1, modelName: 'Town' },
        { modelId: 2, modelName: 'Region' },
      ],
    });
  });

  it.each([
    ['CONTROL_INVALID', '1.explode', ''],
    ['CONTROL_INVALID', '1.pause.now', ''],
    ['CONTROL_INVALID', '1', ''],
    ['CONTROL_INVALID', 'Town.pause', ''],
    ['CONTROL_INVALID', '01.pause', ''],
    ['CONTROL_INVALID', 'all.pause', ''],
    ['CONTROL_INVALID', '1.pause', '{'],
    ['CONTROL_INVALID', '1.pause', '[]'],
    ['CONTROL_INVALID', '1.pause', 'null'],
    ['CONTROL_INVALID', '1.pause', '{"v":2}'],
    ['CONTROL_INVALID', '1.pause', '{"force":true}'],
    ['CONTROL_INVALID', '1.pause', '{"__proto__":1}'],
    ['CONTROL_INVALID', '1.pause', '{"reason":1}'],
    ['CONTROL_INVALID', '1.pause', '{"by":""}'],
    ['CONTROL_INVALID', '1.pause', '{"requestId":"a b"}'],
    ['CONTROL_INVALID', '1.pause', '{"model":"Town"}'],
    ['CONTROL_INVALID', 'byName.pause', '{}'],
    ['MODEL_UNKNOWN', '3.pause', ''],
    ['MODEL_UNKNOWN', 'byName.pause', '{"model":"Village"}'],
    ['CONTROL_TOO_LARGE', '1.pause', `{"reason":"${'x'.repeat(limits.cluster.controlBytes.value)}"}`],
  ])('is refused by %s and changes nothing: %s (%#)', async (code, about, body) => {
    const store = await openHeld();
    expect(await ask(about, body)).toMatchObject({ accepted: false, code, retryable: false });
    expect((await store.migrationStatus(1)).intentRevision).toBe(0);
  });
});
