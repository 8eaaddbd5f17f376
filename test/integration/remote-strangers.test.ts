import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import { localBus } from '../../src/cluster/local-bus.ts';
import { controlMigration } from '../../src/remote/control-migration.ts';
import type { FollowedMigration } from '../../src/remote/follow-migrations.ts';
import { followMigrations } from '../../src/remote/follow-migrations.ts';
import { codeOf, waitUntil } from '../rig/operators.ts';

const about = { v: 1, store: 'geo', databaseId: 'd-1', nodeId: 'a' };
const accepted = { ...about, accepted: true };
const statusOf = (version: number) => ({ ...accepted, modelId: 1, version, status: { state: 'Running' } });
const event = { ...about, session: 's', seq: 1, modelId: 1, epoch: 1, atMs: 1 };
const status = { ...event, type: 'status', version: 10, status: { state: 'Running' } };

let bus: WholeMessageBus;
/** What is answered next; without any, nobody is there. */
let answers: unknown[];
let asked: { readonly about: string; readonly body: Readonly<Record<string, unknown>> }[];
beforeEach(() => {
  bus = localBus();
  answers = [];
  asked = [];
  bus.respond('godwit.geo.control.>', 'g', (payload, subject) => {
    asked.push({
      about: subject.slice('godwit.geo.control.'.length),
      body: JSON.parse(Buffer.from(payload).toString()) as Readonly<Record<string, unknown>>,
    });
    const answer = answers.length > 1 ? answers.shift() : answers[0];
    return Buffer.from(typeof answer === 'string' ? answer : JSON.stringify(answer ?? null));
  });
});
afterEach(() => bus.close());

const publish = (subject: string, message: unknown) =>
  bus.publish(`godwit.geo.${subject}`, Buffer.from(JSON.stringify(message)));

/** What a follower yields until it has yielded so many. */
async function take(following: AsyncIterable<FollowedMigration>, count: number) {
  const taken: FollowedMigration[] = [];
  for await (const one of following) {
    taken.push(one);
    if (taken.length === count) break;
  }
  return taken;
}

describe('what strangers answer', () => {
  it.each([
    ['no JSON', '{'],
    ['nothing', null],
    ['of another format', { ...accepted, v: 2 }],
    ['without a database', { ...accepted, databaseId: undefined }],
    ['a node that is no text', { ...accepted, nodeId: {} }],
    ['neither accepted nor refused', { ...accepted, accepted: 'yes' }],
    ['a revision that is none', { ...accepted, revision: 1e300 }],
    ['a status that is none', { ...accepted, status: 'Running' }],
    ['models that are no list', { ...accepted, models: 5 }],
    ['models that are none', { ...accepted, models: [null] }],
    ['to another request', { ...accepted, requestId: 'another' }],
    ['in the name of another database', { ...accepted, databaseId: 'd-2' }],
  ])('is no answer: %s', async (_, answer) => {
    answers = [answer];
    const asking = { store: 'geo', model: 1, verb: 'pause', databaseId: 'd-1', timeoutMs: 1 } as const;
    expect(await codeOf(controlMigration(bus, asking))).toBe('BUS_UNANSWERED');
  });

  it('is waited out: the same is asked again until a node answers', async () => {
    answers = [{ ...accepted, models: 5 }, accepted];
    const reply = await controlMigration(bus, { store: 'geo', model: 1, verb: 'pause', requestId: 'r-1' });
    expect(reply).toEqual(accepted);
    expect(asked.map(({ body }) => body['requestId'])).toEqual(['r-1', 'r-1']);
  });

  it('ends no follower, and hides nothing from it', async () => {
    answers = [
      { ...accepted, models: 5 },
      { ...accepted, models: [{ modelId: 1, modelName: 'Town' }] },
      { ...statusOf(1), version: 1e300 },
      statusOf(7),
    ];
    const [read] = await take(followMigrations(bus, { store: 'geo' }), 1);
    expect(read).toMatchObject({ type: 'read', modelId: 1, version: 7 });
    expect(asked.map(({ about: what }) => what)).toEqual([
      'all.status',
      'all.status',
      '1.status',
      '1.status',
    ]);
  });
});

describe('what strangers publish', () => {
  it.each([
    ['of another model than the subject', 'status.1', { ...status, modelId: 2 }],
    ['of another type than the subject', 'audit.1', status],
    ['of another store', 'status.1', { ...status, store: 'geo2' }],
    ['below the subject', 'status.1.2', status],
    ['a version beyond all numbers', 'status.1', { ...status, version: 1e300 }],
    ['a version below zero', 'status.1', { ...status, version: -1 }],
    ['a number beyond all numbers', 'status.1', { ...status, seq: 1e300 }],
    ['a session without an end', 'status.1', { ...status, session: 'x'.repeat(129) }],
    ['a time that is none', 'status.1', { ...status, atMs: '1' }],
    ['a status that is none', 'status.1', { ...status, status: null }],
    ['an audit event without a position', 'audit.1', { ...event, type: 'audit', event: {} }],
    ['a list', 'status.1', [status]],
  ])('is not told: %s', async (_, subject, message) => {
    const following = followMigrations(bus, { store: 'geo', reads: false });
    publish(subject, message);
    publish('status.1', status);
    expect(await take(following, 1)).toEqual([status]);
  });
});

describe('a follower that names no database', () => {
  it('ends where a node that is asked knows of two, though nothing is published', async () => {
    answers = [{ ...about, accepted: false, code: 'STORE_AMBIGUOUS', message: 'two', retryable: false }];
    expect(await codeOf(take(followMigrations(bus, { store: 'geo' }), 1))).toBe('STORE_AMBIGUOUS');
  });

  it('asks the one that it has heard alone', async () => {
    answers = [null];
    const controller = new AbortController();
    const following = followMigrations(bus, { store: 'geo', signal: controller.signal });
    publish('status.1', status);
    await waitUntil('it is asked again', () => asked.length > 1);
    expect(asked.at(-1)).toEqual({ about: 'all.status', body: { databaseId: 'd-1' } });
    controller.abort();
    expect(await take(following, 2)).toEqual([status]);
  });
});
