import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BusAnswer, BusService, BusState, WholeMessageBus } from '../../src/cluster/bus.ts';
import { codeOf, waitUntil } from '../rig/operators.ts';

/** Two who can hear each other: two connections, or one bus twice. */
export interface BusPair {
  readonly one: WholeMessageBus;
  readonly other: WholeMessageBus;
  /** Once the pair is closed. */
  dispose(): Promise<void>;
}

const bytes = (text: string) => Buffer.from(text);
const textOf = (payload: Uint8Array) => Buffer.from(payload).toString();
const codeIn = ({ code }: { readonly code: string }) => code;
let probes = 0;

const service: BusService = {
  name: 'echo',
  version: '1.2.3',
  description: 'Says it again',
  metadata: { node: 'a' },
  subject: 'ask.>',
  group: 'g',
  answer: (payload) => payload,
};

/** What `to` has subscribed to by now reaches it from `from` once this resolves. */
export async function reaches(from: WholeMessageBus, to: WholeMessageBus): Promise<void> {
  const subject = `probe.${probes++}`;
  let heard = false;
  const { unsubscribe } = to.subscribe(subject, () => (heard = true));
  await waitUntil('the one hears the other', () => {
    from.publish(subject, bytes(''));
    return heard;
  });
  unsubscribe();
}

/** What every bus does that lacks nothing. */
export function describeMessageBus(name: string, open: () => Promise<BusPair>): void {
  describe(`message bus: ${name}`, () => {
    let pair: BusPair;
    let one: WholeMessageBus;
    let other: WholeMessageBus;
    const heard: string[] = [];
    const hear = (payload: Uint8Array, subject: string) => void heard.push(`${subject} ${textOf(payload)}`);
    beforeEach(async () => {
      heard.length = 0;
      pair = await open();
      ({ one, other } = pair);
    });
    afterEach(async () => {
      await Promise.all([one.close(), other.close()]);
      await pair.dispose();
    });

    /** Everything published by `one` before has been heard by `other` after this. */
    const flushed = () => reaches(one, other);

    it('delivers what is published to a subject, in order, bytes and subject as they were', async () => {
      other.subscribe('a.b', hear);
      await reaches(one, other);
      for (let n = 0; n < 100; n += 1) one.publish('a.b', bytes(`ü${n}`));
      await flushed();
      expect(heard).toEqual(Array.from({ length: 100 }, (_, n) => `a.b ü${n}`));
    });

    it('delivers below a subject that ends in .>, and neither that itself nor its neighbours', async () => {
      other.subscribe('a.b.>', hear);
      await reaches(one, other);
      for (const subject of ['a.b', 'a.b.c', 'a.bc.d', 'a.b.c.d', 'a']) one.publish(subject, bytes(''));
      await flushed();
      expect(heard).toEqual(['a.b.c ', 'a.b.c.d ']);
    });

    it('delivers to each of several subscriptions, and no more to one that has ended', async () => {
      const ending = other.subscribe('a', hear);
      other.subscribe('a', hear);
      await reaches(one, other);
      one.publish('a', bytes('1'));
      await flushed();
      ending.unsubscribe();
      ending.unsubscribe();
      await reaches(one, other);
      one.publish('a', bytes('2'));
      await flushed();
      expect(heard).toEqual(['a 1', 'a 1', 'a 2']);
    });

    it('lets a receiver that throws disturb nobody, and counts it', async () => {
      other.subscribe('a', () => {
        throw new Error('a receiver failed');
      });
      other.subscribe('a', hear);
      await reaches(one, other);
      one.publish('a', bytes('1'));
      one.publish('a', bytes('2'));
      await flushed();
      expect(heard).toEqual(['a 1', 'a 2']);
      expect(other.counts.failures).toBe(2);
      expect(other.state).toMatchObject({
        type: 'connected',
        lastError: { code: 'RECEIVER_THREW', message: 'a receiver failed' },
      });
    });

    it.each(['', 'a b', 'a\r\nPUB b 0', 'a..b', '.a', 'a.', 'a.*', '>'])(
      'drops what is published to %j, which is no subject, and refuses to subscribe, ask and respond',
      async (subject) => {
        one.publish(subject, bytes(''));
        expect(one.counts).toMatchObject({ dropped: 1, failures: 1 });
        expect(one.state.lastError?.code).toBe('BAD_SUBJECT');
        expect(() => one.subscribe(subject, hear)).toThrow(TypeError);
        expect(() => one.respond(subject, 'g', (payload) => payload)).toThrow(TypeError);
        expect(() => one.respond('a', subject, (payload) => payload)).toThrow(TypeError);
        expect(() => one.serve({ ...service, subject })).toThrow(TypeError);
        expect(() => one.serve({ ...service, group: subject })).toThrow(TypeError);
        await expect(one.request(subject, bytes(''), { timeoutMs: 1_000 })).rejects.toThrow(TypeError);
      },
    );

    it('has one of a group answer each request, and answers what that one says', async () => {
      const asked: string[] = [];
      for (const [at, bus] of [one, other, other].entries()) {
        bus.respond('ask.>', 'g', (payload, subject) => {
          asked.push(`${subject} ${textOf(payload)}`);
          const answer = bytes(`${textOf(payload)} by ${at}`);
          return at === 1 ? Promise.resolve(answer) : answer;
        });
      }
      await reaches(one, other);
      await reaches(other, one);
      const answers: string[] = [];
      for (let n = 0; n < 60; n += 1) {
        answers.push(textOf(await one.request('ask.me', bytes(`${n}`), { timeoutMs: 20_000 })));
      }
      await flushed();
      expect(answers.map((answer) => answer.split(' by ')[0])).toEqual(answers.map((_, n) => `${n}`));
      expect(asked).toEqual(answers.map((_, n) => `ask.me ${n}`));
      expect(new Set(answers.map((answer) => answer.split(' by ')[1])).size).toBeGreaterThan(1);
    });

    it('tells at once that nobody responds, also when the last one has ended', async () => {
      expect(await codeOf(one.request('ask', bytes(''), { timeoutMs: 600_000 }))).toBe('BUS_UNANSWERED');
      const responding = other.respond('ask', 'g', (payload) => payload);
      await reaches(one, other);
      expect(textOf(await one.request('ask', bytes('1'), { timeoutMs: 20_000 }))).toBe('1');
      responding.unsubscribe();
      await reaches(one, other);
      expect(await codeOf(one.request('ask', bytes(''), { timeoutMs: 600_000 }))).toBe('BUS_UNANSWERED');
    });

    it('ends a request when its time is over or its signal aborts', async () => {
      let asked = 0;
      other.respond('ask', 'g', () => {
        asked += 1;
        return new Promise(() => undefined);
      });
      await reaches(one, other);
      expect(await codeOf(one.request('ask', bytes(''), { timeoutMs: 20 }))).toBe('TIMEOUT');
      const controller = new AbortController();
      const asking = codeOf(one.request('ask', bytes(''), { timeoutMs: 1_000, signal: controller.signal }));
      await waitUntil('it was asked', () => asked === 2);
      controller.abort();
      expect(await asking).toBe('ABORTED');
      const { signal } = controller;
      expect(await codeOf(one.request('ask', bytes(''), { timeoutMs: 1_000, signal }))).toBe('ABORTED');
      expect(asked).toBe(2);
    });

    it('has one of a group answer each request to a service, until that ends', async () => {
      const asked: string[] = [];
      const serving = [one, other, other].map((bus, at) =>
        bus.serve({
          ...service,
          answer(payload, subject) {
            asked.push(`${subject} ${textOf(payload)}`);
            return bytes(`${textOf(payload)} by ${at}`);
          },
        }),
      );
      await reaches(one, other);
      await reaches(other, one);
      const answers: string[] = [];
      for (let n = 0; n < 60; n += 1) {
        answers.push(textOf(await one.request('ask.me', bytes(`${n}`), { timeoutMs: 20_000 })));
      }
      await flushed();
      expect(asked).toEqual(answers.map((_, n) => `ask.me ${n}`));
      expect(new Set(answers.map((answer) => answer.split(' by ')[1])).size).toBeGreaterThan(1);
      for (const { unsubscribe } of serving) {
        unsubscribe();
        unsubscribe();
      }
      await waitUntil('nobody is there', async () => {
        const asking = one.request('ask.me', bytes(''), { timeoutMs: 20_000 });
        return (await asking.then(() => '', codeIn)) === 'BUS_UNANSWERED';
      });
      expect([one.counts.failures, other.counts.failures]).toEqual([0, 0]);
    });

    it.each(['respond', 'serve'] as const)(
      'lets one who is not meant stay silent, so that another group answers: %s',
      async (how) => {
        const asked: string[] = [];
        const answerAs = (group: string) => {
          const answer: BusAnswer = async (payload) => {
            asked.push(group);
            await Promise.resolve();
            return textOf(payload) === group ? bytes(`${group} answers`) : undefined;
          };
          if (how === 'serve') other.serve({ ...service, group, answer });
          else other.respond('ask.>', group, answer);
        };
        answerAs('g-1');
        answerAs('g-2');
        await reaches(one, other);
        for (const group of ['g-1', 'g-2', 'g-1', 'g-2']) {
          expect(textOf(await one.request('ask.me', bytes(group), { timeoutMs: 20_000 }))).toBe(
            `${group} answers`,
          );
        }
        asked.length = 0;
        expect(await codeOf(one.request('ask.me', bytes('g-3'), { timeoutMs: 100 }))).toBe('TIMEOUT');
        await waitUntil('both were asked', () => asked.length === 2);
        expect(asked.toSorted()).toEqual(['g-1', 'g-2']);
        expect(other.counts.failures).toBe(0);
      },
    );

    it('counts an answer of a service that fails, and goes on answering', async () => {
      let asked = 0;
      const answer: BusAnswer = (payload) => {
        if (asked++ === 0) throw new Error('a responder failed');
        return payload;
      };
      other.serve({ ...service, answer });
      await reaches(one, other);
      expect(await codeOf(one.request('ask.me', bytes(''), { timeoutMs: 100 }))).toBe('TIMEOUT');
      expect(textOf(await one.request('ask.me', bytes('2'), { timeoutMs: 20_000 }))).toBe('2');
      expect(other.counts.failures).toBe(1);
      expect(other.state.lastError).toMatchObject({ code: 'RESPONDER_THREW' });
    });

    it('counts an answer that fails, and goes on answering', async () => {
      let asked = 0;
      other.respond('ask', 'g', (payload) => {
        if (asked++ === 0) throw new Error('a responder failed');
        return payload;
      });
      await reaches(one, other);
      expect(await codeOf(one.request('ask', bytes(''), { timeoutMs: 20 }))).toBe('TIMEOUT');
      expect(textOf(await one.request('ask', bytes('2'), { timeoutMs: 20_000 }))).toBe('2');
      expect(other.counts.failures).toBe(1);
      expect(other.state.lastError).toMatchObject({
        code: 'RESPONDER_THREW',
        message: 'a responder failed',
      });
    });

    it('does not ask responders what is only published', async () => {
      const asked: string[] = [];
      other.respond('ask', 'g', (payload) => {
        asked.push(textOf(payload));
        return payload;
      });
      await reaches(one, other);
      one.publish('ask', bytes('published'));
      await one.request('ask', bytes('asked'), { timeoutMs: 20_000 });
      expect(asked).toEqual(['asked']);
    });

    it('is connected until it is closed: then it tells so once, drops, hears nothing and answers nobody', async () => {
      const told: BusState['type'][] = [];
      other.subscribe('a', hear);
      await reaches(one, other);
      expect(one.state.type).toBe('connected');
      one.onState(({ type }) => told.push(type));
      const unheard = one.onState(({ type }) => told.push(type));
      unheard();
      other.onState(() => {
        throw new Error('a listener failed');
      });
      await Promise.all([one.close(), one.close(), other.close()]);
      expect(told).toEqual(['closed']);
      expect(one.state.type).toBe('closed');
      expect(one.state.sinceMs).toBeGreaterThan(0);
      const { dropped } = one.counts;
      one.publish('a', bytes('too late'));
      expect(one.counts.dropped).toBe(dropped + 1);
      expect(await codeOf(one.request('a', bytes(''), { timeoutMs: 600_000 }))).toBe('BUS_UNANSWERED');
      one.subscribe('a', hear).unsubscribe();
      one.respond('a', 'g', (payload) => payload).unsubscribe();
      one.serve(service).unsubscribe();
      expect(heard).toEqual([]);
    });
  });
}
