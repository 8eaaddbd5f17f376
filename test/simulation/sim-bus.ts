import { askWithin, unanswered } from '../../src/cluster/ask.ts';
import type {
  BusAnswer,
  BusState,
  MessageBus,
  Subscription,
  WholeMessageBus,
} from '../../src/cluster/bus.ts';
import { keepBusState } from '../../src/cluster/bus-state.ts';
import { matcherOf } from '../../src/cluster/subject.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { SeededRandom } from '../rig/seed.ts';
import type { Mortal, World } from './world.ts';

/** Of a bus what stores and those outside use; `serve` is `respond` with a name. */
export type SimBusEnd = MessageBus & Pick<WholeMessageBus, 'state' | 'onState' | 'request' | 'respond'>;

interface Receiver {
  readonly end: Mortal;
  readonly matches: (subject: string) => boolean;
  readonly receive: (payload: Uint8Array, subject: string) => void;
}

interface Responder {
  readonly end: Mortal;
  readonly matches: (subject: string) => boolean;
  readonly group: string;
  readonly answer: BusAnswer;
}

/** Hears everything as it is said, whatever comes of it. */
export interface SimBusEar {
  published(subject: string, payload: Uint8Array): void;
  answered(subject: string, request: Uint8Array, reply: Uint8Array): void;
}

/** How long a message is under way at most, milliseconds. */
const usualMs = 50;
/** A few: longer than somebody waits for an answer. */
export const longestOnBusMs = 3_000;
const connectMs = 200;

/**
 * The bus of a simulated cluster: what is published or asked comes late, in another order, twice, or never. All of it is
 * drawn from a stream of its own, so that the rest of a history stays as it is.
 */
export class SimBus {
  /** Until it is calm. */
  isLossy = true;
  readonly #world: World;
  readonly #random: SeededRandom;
  readonly #ear: SimBusEar;
  readonly #receivers = new Set<Receiver>();
  readonly #responders = new Set<Responder>();
  readonly #ends = new Map<Mortal, (type: BusState['type']) => void>();
  #downUntilMs = 0;

  constructor(world: World, random: SeededRandom, ear: SimBusEar) {
    this.#world = world;
    this.#random = random;
    this.#ear = ear;
  }

  /** Nobody hears anybody, and all know it; then they are connected again. */
  cut(forMs: number): void {
    this.#downUntilMs = this.#world.nowMs + forMs;
    for (const [end, change] of this.#ends) if (!end.isDead) change('reconnecting');
    this.#connectAll();
  }

  connect(end: Mortal, clock: Clock): SimBusEnd {
    const keeper = keepBusState(clock, 'reconnecting', undefined);
    this.#ends.set(end, (type) => keeper.change(type));
    this.#connectLater(end);
    const add = <T>(set: Set<T>, item: T): Subscription => {
      set.add(item);
      return { unsubscribe: () => void set.delete(item) };
    };
    return {
      get state() {
        return keeper.state;
      },
      onState: (listener) => keeper.onState(listener),
      publish: (subject, payload) => this.#publish(subject, payload),
      subscribe: (subject, receive) => add(this.#receivers, { end, matches: matcherOf(subject), receive }),
      request: (subject, payload, options) =>
        askWithin(clock, subject, options, () => this.#ask(end, subject, payload)),
      respond: (subject, group, answer) =>
        add(this.#responders, { end, matches: matcherOf(subject), group, answer }),
      close: () => Promise.resolve(),
    };
  }

  get #isDown(): boolean {
    return this.#downUntilMs > this.#world.nowMs;
  }

  #connectAll(): void {
    for (const end of this.#ends.keys()) this.#connectLater(end);
  }

  #connectLater(end: Mortal): void {
    const withinMs = this.#random.fraction() * connectMs;
    const delayMs = Math.max(0, this.#downUntilMs - this.#world.nowMs) + withinMs;
    this.#world.schedule(
      end,
      delayMs,
      () => {
        if (!this.#isDown) this.#ends.get(end)?.('connected');
      },
      this.#random,
    );
  }

  #publish(subject: string, payload: Uint8Array): void {
    this.#ear.published(subject, payload);
    if (this.#isDown) return;
    for (const { end, matches, receive } of this.#receivers) {
      if (matches(subject)) this.#carry(end, () => receive(payload, subject));
    }
  }

  #ask(asker: Mortal, subject: string, payload: Uint8Array): Promise<Uint8Array> {
    if (this.#isDown) return Promise.reject(unanswered(subject, 'there is no connection'));
    const those = [...this.#responders].filter(({ end, matches }) => !end.isDead && matches(subject));
    const groups = new Set(those.map(({ group }) => group));
    return new Promise((resolve, reject) => {
      if (groups.size === 0) {
        const nobody = () => reject(unanswered(subject, 'nobody responds to it'));
        this.#world.schedule(asker, this.#random.fraction() * usualMs, nobody, this.#random);
      }
      for (const group of groups) {
        const members = those.filter((one) => one.group === group);
        for (let copy = this.#copies(); copy > 0; copy -= 1) {
          const { end, answer } = this.#random.pick(members);
          const respond = async () => {
            const reply = await answer(payload, subject);
            if (reply === undefined) return;
            this.#ear.answered(subject, payload, reply);
            if (!this.#isDown) this.#carry(asker, () => resolve(reply));
          };
          this.#arrive(end, () => void respond());
        }
      }
    });
  }

  #carry(end: Mortal, happen: () => void): void {
    for (let copy = this.#copies(); copy > 0; copy -= 1) this.#arrive(end, happen);
  }

  #copies(): number {
    return this.#random.pick(this.isLossy ? [1, 1, 1, 1, 0, 2] : [1, 1, 1, 1, 2]);
  }

  #arrive(end: Mortal, happen: () => void): void {
    const withinMs = this.#random.below(20) === 0 ? longestOnBusMs : usualMs;
    this.#world.schedule(end, this.#random.fraction() * withinMs, happen, this.#random);
  }
}
