import { describe, expect, it } from 'vitest';
import type { MessageBus } from '../../../src/cluster/bus.ts';
import { parseControlRequest } from '../../../src/cluster/control-request.ts';
import { serveControl } from '../../../src/cluster/control-service.ts';
import { localBus } from '../../../src/cluster/local-bus.ts';
import { watchForNamesakes } from '../../../src/cluster/namesakes.ts';
import { limits } from '../../../src/limits.ts';
import { publishEvents } from '../../../src/migration/event-messages.ts';
import type { MigrationEvent } from '../../../src/migration/events.ts';
import { followMigrations } from '../../../src/remote/follow-migrations.ts';
import type { FollowedMigration } from '../../../src/remote/follow-migrations.ts';
import { codeOf, waitUntil } from '../../rig/operators.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const self = { store: 'geo', databaseId: 'here', nodeId: 'a', session: 's' };
const { cluster } = limits;
const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

describe('a control request', () => {
  const parse = (body: string) => parseControlRequest('c', 'c.1.pause', bytes(body));

  it('is as large as it may be, and a byte more is refused', async () => {
    const { value } = cluster.controlBytes;
    const sized = (size: number) => {
      const empty = '{"reason":""}';
      return empty.replace('""', `"${'x'.repeat(size - empty.length)}"`);
    };
    expect(parse(sized(value)).reason).toHaveLength(value - '{"reason":""}'.length);
    expect(await codeOf(Promise.resolve().then(() => parse(sized(value + 1))))).toBe('CONTROL_TOO_LARGE');
  });

  it.each(['by', 'requestId'])(
    'has a %s as long as it may be, and a character more is refused',
    async (name) => {
      const { value } = cluster.operatorIdLength;
      const named = (length: number) => JSON.stringify({ [name]: 'x'.repeat(length) });
      expect(parse(named(value))).toMatchObject({ [name]: 'x'.repeat(value) });
      expect(await codeOf(Promise.resolve().then(() => parse(named(value + 1))))).toBe('CONTROL_INVALID');
    },
  );
});

describe('control requests', () => {
  /** Whose requests are under way until they are told to end. */
  const serve = () => {
    const clock = createVirtualClock();
    const bus = localBus({ clock });
    const underWay: (() => void)[] = [];
    serveControl({
      bus,
      clock,
      subject: 'c',
      service: { name: 'godwit', version: '1.0.0', description: '', metadata: {} },
      self,
      namesakes: () => [],
      carryOut: (_, signal) =>
        new Promise((resolve, reject) => {
          underWay.push(() => resolve({ accepted: true }));
          signal.addEventListener('abort', () => reject(new Error('it took too long')));
        }),
      onFailure: () => undefined,
    });
    const ask = async () => {
      const reply = await bus.request('c.1.pause', bytes(''), { timeoutMs: 60_000 });
      return JSON.parse(Buffer.from(reply).toString()) as { readonly code?: string };
    };
    return { clock, underWay, ask };
  };

  it('are carried out side by side up to their number, and one more is told to come again', async () => {
    const { value } = cluster.controlsAtOnce;
    const { underWay, ask } = serve();
    const asked = Array.from({ length: value }, ask);
    await waitUntil('all are under way', () => underWay.length === value);
    expect(await ask()).toMatchObject({ accepted: false, code: 'CONTROL_BUSY', retryable: true });
    for (const end of underWay) end();
    expect(await Promise.all(asked)).toMatchObject(asked.map(() => ({ accepted: true })));
    const again = ask();
    await waitUntil('there is room again', () => underWay.length === value + 1);
    underWay.at(-1)?.();
    expect(await again).toMatchObject({ accepted: true });
  });

  it('are carried out within their time, and not a millisecond later', async () => {
    const { value } = cluster.controlMs;
    const { clock, underWay, ask } = serve();
    const [first, second] = [ask(), ask()];
    await waitUntil('both are under way', () => underWay.length === 2);
    clock.advance(value - 1);
    underWay[0]?.();
    expect(await first).toMatchObject({ accepted: true });
    clock.advance(1);
    expect(await second).toMatchObject({ accepted: false, code: 'CONTROL_FAILED', retryable: true });
  });
});

describe('other databases of one name', () => {
  it('are remembered up to their number, and no further', async () => {
    const { value } = cluster.namesakes;
    const bus = localBus();
    const found: string[] = [];
    const namesakes = watchForNamesakes({
      bus,
      subject: 'n',
      self,
      clock: createVirtualClock(),
      onFound: (databaseId) => found.push(databaseId),
    });
    for (let n = 0; n <= value; n += 1) {
      bus.publish('n', bytes({ v: 1, type: 'node', is: 'here', databaseId: `other ${n}` }));
    }
    await waitUntil('they are heard of', () => namesakes.databaseIds.length >= value);
    expect(namesakes.databaseIds).toHaveLength(value);
    expect(found).toEqual(namesakes.databaseIds);
  });
});

describe('audit events without a bus', () => {
  it('are kept up to their number, and one more drops the oldest', () => {
    const { value } = cluster.keptAuditMessages;
    let tell: (event: MigrationEvent) => void = () => undefined;
    const hub = {
      subscribe(receive: (event: MigrationEvent) => void) {
        tell = receive;
        return () => undefined;
      },
    };
    let isAway = true;
    const carried: number[] = [];
    const dropped: number[] = [];
    const bus: MessageBus = {
      get state() {
        return { type: isAway ? 'reconnecting' : 'connected', sinceMs: 0 } as const;
      },
      publish: (_, payload) =>
        void (isAway ? dropped : carried).push(
          (JSON.parse(Buffer.from(payload).toString()) as MigrationEvent).seq,
        ),
      subscribe: () => ({ unsubscribe: () => undefined }),
      close: () => Promise.resolve(),
    };
    const publisher = publishEvents(hub, bus, 'godwit.geo', self);
    const audit = () => tell({ type: 'audit', seq: 1, modelId: 1 } as MigrationEvent);
    for (let n = 0; n < value; n += 1) audit();
    expect(dropped).toEqual([]);
    audit();
    expect(dropped).toEqual([1]);
    isAway = false;
    publisher.connected();
    expect(carried).toEqual(Array.from({ length: value }, (_, at) => at + 2));
  });
});

describe('the subjects that are followed', () => {
  it('are remembered up to their number, and one more forgets the one that was silent longest', async () => {
    const { value } = cluster.followedSubjects;
    const bus = localBus();
    const followed: FollowedMigration[] = [];
    const following = (async () => {
      for await (const event of followMigrations(bus, { store: 'geo', reads: false })) followed.push(event);
    })();
    const publish = async (session: number, seq: number) => {
      const about = { v: 1, store: 'geo', databaseId: 'd', nodeId: 'n', modelId: 1, epoch: 0, atMs: 0 };
      const metrics = { ...about, type: 'metrics', version: 1, metrics: {} };
      bus.publish('godwit.geo.metrics.1', bytes({ ...metrics, session: `s${session}`, seq }));
      if (session % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
    };
    for (let session = 0; session < value; session += 1) await publish(session, 1);
    // Remembered: a gap shows.
    await publish(0, 3);
    await publish(value, 1);
    // Forgotten, as the first is newer now.
    await publish(1, 3);
    await publish(2, 3);
    await publish(0, 4);
    await waitUntil('all are heard', () => followed.length >= value + 6);
    const gaps = followed.filter(({ type }) => type === 'gap');
    expect(gaps).toHaveLength(1);
    await bus.close();
    await following;
  });
});
