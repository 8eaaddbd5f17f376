import type { ControlVerb } from '../../src/cluster/control-request.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { ControlReply } from '../../src/remote/replies.ts';
import { ask } from '../../src/remote/control-migration.ts';
import type { SeededRandom } from '../rig/seed.ts';
import type { Simulated } from './context.ts';
import { expectError } from './context.ts';
import type { ControlRules } from './control-rules.ts';
import { outsider } from './control-rules.ts';
import type { SimBusEnd } from './sim-bus.ts';
import type { NodeClock } from './world.ts';

interface Request {
  readonly requestId: string;
  readonly verb: ControlVerb;
  /** As the subject says it. */
  readonly about: string;
  /** Where the subject does not. */
  readonly model?: string;
}

const verbs: readonly ControlVerb[] = ['pause', 'resume', 'cancel'];
const modelNames: Readonly<Record<number, string>> = { 1: 'Item', 2: 'Order', 3: 'Plain' };

/**
 * Operators who have nothing but the bus. They ask until they are answered, as `controlMigration` does; what they have
 * asked comes again much later, and some use an id for something else.
 */
export class RemoteOperators {
  readonly #simulated: Simulated;
  readonly #random: SeededRandom;
  readonly #bus: SimBusEnd;
  readonly #clock: NodeClock;
  readonly #rules: ControlRules;
  readonly #sent = new Map<string, Request>();
  /** How often somebody interferes with what has just begun. */
  readonly #keenness: number;

  constructor(
    simulated: Simulated,
    parts: {
      readonly random: SeededRandom;
      readonly bus: SimBusEnd;
      readonly clock: NodeClock;
      readonly rules: ControlRules;
    },
  ) {
    this.#simulated = simulated;
    this.#random = parts.random;
    this.#bus = parts.bus;
    this.#clock = parts.clock;
    this.#rules = parts.rules;
    this.#keenness = this.#random.pick([0, 0, 0.1, 0.4]);
  }

  /** Most of what is asked for comes when a phase has begun. */
  heard({ type, modelId }: MigrationAuditEvent): void {
    if (type !== 'PhaseStarted' && type !== 'LeaseAcquired') return;
    if (this.#simulated.isCalm || this.#random.fraction() >= this.#keenness) return;
    const withinMs = this.#random.pick([5, 50, 500]);
    const verb = this.#random.pick(['pause', 'pause', 'cancel'] as const);
    this.#later(withinMs, () => this.say(verb, modelId));
    if (this.#random.below(3) > 0) this.#later(withinMs + 2_000, () => this.say('resume', modelId));
  }

  /** Whether a word is given over the bus and not through a store. */
  takes(): boolean {
    return this.#random.below(2) === 0;
  }

  say(verb: ControlVerb, modelId: number): void {
    const requestId = `r-${this.#sent.size + 1}`;
    const name = modelNames[modelId];
    const isByName = name !== undefined && this.#random.below(4) === 0;
    const request: Request = isByName
      ? { requestId, verb, about: 'byName', model: name }
      : { requestId, verb, about: String(modelId) };
    this.#sent.set(requestId, request);
    this.#ask(request);
    if (this.#random.below(2) === 0) this.#repeat(request, this.#random.pick([50, 2_000, 8_000]));
  }

  /** What is done already comes once more, and changes nothing any more. */
  haunt(): void {
    for (const requestId of this.#rules.settled) {
      const request = this.#sent.get(requestId);
      if (request !== undefined && this.#random.below(2) === 0) this.#repeat(request, 20_000, true);
    }
  }

  #repeat(request: Request, withinMs: number, isGhost = false): void {
    const verb = this.#random.below(6) === 0 ? this.#random.pick(verbs) : request.verb;
    this.#later(withinMs, () => this.#ask({ ...request, verb }), isGhost);
  }

  #later(withinMs: number, act: () => void, isForCalm = false): void {
    const delayMs = this.#random.fraction() * withinMs;
    const actInTime = () => {
      if (isForCalm || !this.#simulated.isCalm) act();
    };
    this.#simulated.world.schedule(undefined, delayMs, actInTime, this.#random);
  }

  #ask({ verb, about, model, requestId }: Request): void {
    const { world } = this.#simulated;
    const subject = `godwit.simulated.control.${about}.${verb}`;
    const body = { requestId, by: outsider(requestId), ...(model === undefined ? {} : { model }) };
    const timeoutMs = this.#random.pick([300, 3_000, 10_000]);
    world.note(undefined, () => `over the bus: ${about} ${verb} as ${requestId}`);
    ask(this.#bus, subject, body, { timeoutMs }, this.#clock).then(
      (reply) => world.note(undefined, () => `answer to ${requestId}: ${wordOf(reply)}`),
      (error: unknown) => {
        world.note(undefined, () => `no answer to ${requestId}`);
        expectError(this.#simulated, 'a control request', error);
      },
    );
  }
}

const wordOf = ({ accepted, code, revision, nodeId }: ControlReply): string =>
  `${accepted ? 'accepted' : `refused by ${code ?? ''}`} as ${revision ?? 'nothing'} by ${nodeId}`;
