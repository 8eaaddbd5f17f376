import type { Clock } from '../../src/ports/clock.ts';
import type { SeededRandom } from '../rig/seed.ts';

/** Something that is going to happen in the world. */
export interface WorldEvent {
  dueMs: number;
  /** Draws the order of what is due at the same time. */
  readonly order: number;
  readonly node: Mortal | undefined;
  readonly happen: () => void;
  isOff: boolean;
}

/** Whatever an event may belong to: dead, it never happens; frozen, it happens after the thaw. */
export interface Mortal {
  readonly name: string;
  readonly isDead: boolean;
  readonly isFrozen: boolean;
}

/**
 * One thread, one time, one order. Everything that happens in a simulation is an event with a time and an order drawn
 * from the seed; between two of them all promises settle. So the same seed makes the same history.
 */
export class World {
  readonly random: SeededRandom;
  /** True time, in milliseconds: no node has it. */
  nowMs = 0;
  events = 0;
  readonly #queue = new EventHeap();
  readonly #held = new Map<Mortal, WorldEvent[]>();
  readonly #trace: string[] | undefined;

  /** @param isTraced keeps what happened, for people: a seed that fails is run again with it */
  constructor(random: SeededRandom, isTraced = false) {
    this.random = random;
    this.#trace = isTraced ? [] : undefined;
  }

  /** @param random who draws its place among what is due at the same time */
  schedule(
    node: Mortal | undefined,
    delayMs: number,
    happen: () => void,
    random: SeededRandom = this.random,
  ): WorldEvent {
    const event: WorldEvent = {
      dueMs: this.nowMs + Math.max(0, delayMs),
      order: random.fraction(),
      node,
      happen,
      isOff: false,
    };
    this.#queue.push(event);
    return event;
  }

  /** Something that takes a while: it happens within `withinMs`, and the promise settles with what it answers. */
  later<T>(node: Mortal | undefined, withinMs: number, act: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.schedule(node, this.random.fraction() * withinMs, () => {
        try {
          Promise.resolve(act()).then(resolve, reject);
        } catch (error) {
          reject(error as Error);
        }
      });
    });
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      this.schedule(undefined, milliseconds, resolve);
    });
  }

  /** What was held back while a node was frozen happens now, in its order. */
  thaw(node: Mortal): void {
    const held = this.#held.get(node) ?? [];
    this.#held.delete(node);
    held.forEach((event, at) => {
      event.dueMs = this.nowMs + at * 0.001;
      this.#queue.push(event);
    });
  }

  /** Lets events happen until the condition holds. Answers false if it did not by then, or nothing is left to happen. */
  async runUntil(condition: () => boolean, untilMs: number): Promise<boolean> {
    await settled();
    while (!condition()) {
      const event = this.#queue.pop();
      if (event === undefined) return false;
      if (event.isOff || event.node?.isDead === true) continue;
      if (event.dueMs > untilMs) {
        this.#queue.push(event);
        this.nowMs = untilMs;
        return false;
      }
      this.nowMs = Math.max(this.nowMs, event.dueMs);
      if (event.node?.isFrozen === true) {
        const held = this.#held.get(event.node) ?? [];
        held.push(event);
        this.#held.set(event.node, held);
        continue;
      }
      this.events += 1;
      event.happen();
      await settled();
    }
    return true;
  }

  /** @param what a function, so that nothing is put together for nobody */
  note(node: Mortal | undefined, what: () => string): void {
    if (this.#trace === undefined) return;
    const seconds = (this.nowMs / 1_000).toFixed(3).padStart(9);
    this.#trace.push(`${seconds} ${(node?.name ?? '-').padEnd(8)} ${what()}`);
  }

  get trace(): readonly string[] {
    return this.#trace ?? [];
  }
}

/** A macrotask ends every chain of promises: nothing in a simulation waits for anything but its events. */
function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/** The clock of one node: its own speed, its own idea of the wall clock. */
export class NodeClock implements Clock {
  readonly #world: World;
  readonly #node: Mortal;
  readonly #speed: number;
  readonly #startedMs: number;
  readonly #random: SeededRandom | undefined;
  #wallOffsetMs: number;

  constructor(world: World, node: Mortal, speed: number, wallOffsetMs: number, random?: SeededRandom) {
    this.#world = world;
    this.#random = random;
    this.#node = node;
    this.#speed = speed;
    this.#startedMs = world.nowMs;
    this.#wallOffsetMs = 1_700_000_000_000 + wallOffsetMs;
  }

  monotonicMs(): number {
    return (this.#world.nowMs - this.#startedMs) * this.#speed;
  }

  wallMs(): number {
    return Math.round(this.#world.nowMs * this.#speed + this.#wallOffsetMs);
  }

  stepWall(milliseconds: number): void {
    this.#wallOffsetMs += milliseconds;
  }

  setTimeout(callback: () => void, delayMs: number): WorldEvent {
    return this.#world.schedule(this.#node, delayMs / this.#speed, callback, this.#random);
  }

  clearTimeout(timer: unknown): void {
    if (timer !== undefined) (timer as WorldEvent).isOff = true;
  }
}

/** Events by time, then by their drawn order. */
class EventHeap {
  readonly #events: WorldEvent[] = [];

  push(event: WorldEvent): void {
    const events = this.#events;
    let at = events.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, events[parent] as WorldEvent)) break;
      events[at] = events[parent] as WorldEvent;
      at = parent;
    }
    events[at] = event;
  }

  pop(): WorldEvent | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (first === undefined || last === undefined || events.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= events.length) break;
      if (
        child + 1 < events.length &&
        isBefore(events[child + 1] as WorldEvent, events[child] as WorldEvent)
      ) {
        child += 1;
      }
      if (!isBefore(events[child] as WorldEvent, last)) break;
      events[at] = events[child] as WorldEvent;
      at = child;
    }
    events[at] = last;
    return first;
  }
}

const isBefore = (left: WorldEvent, right: WorldEvent): boolean =>
  left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order);
