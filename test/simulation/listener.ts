import type { MigrationMessage } from '../../src/migration/event-messages.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { followMigrations } from '../../src/remote/follow-migrations.ts';
import { malformed } from '../rig/subject-schemas.ts';
import type { Simulated } from './context.ts';
import type { SimBusEnd } from './sim-bus.ts';
import type { NodeClock } from './world.ts';

/** Who told of a model last, and what. */
export interface KnownStatus {
  readonly nodeId: string;
  readonly version: number;
  readonly status: MigrationStatus;
}

/** Somebody outside of the cluster who follows it, as a dashboard would: by status, and by what he asks for. */
export interface Follower {
  /** By model. */
  readonly known: ReadonlyMap<number, KnownStatus>;
  readonly gaps: number;
}

export function follow({ fail }: Simulated, bus: SimBusEnd, clock: NodeClock): Follower {
  const known = new Map<number, KnownStatus>();
  let gaps = 0;
  const read = async () => {
    for await (const item of followMigrations(bus, { store: 'simulated' }, { clock })) {
      if (item.type === 'gap') gaps += 1;
      if (item.type !== 'status' && item.type !== 'read') continue;
      const { modelId, nodeId, version, status } = item;
      const before = known.get(modelId)?.version ?? 0;
      if (version < before) {
        fail(`what a follower is told never goes back: ${version} of model ${modelId} after ${before}`);
      }
      known.set(modelId, { nodeId, version, status });
    }
  };
  read().catch((error: unknown) => fail(`a follower is told to the end: ${String(error)}`));
  return {
    known,
    get gaps() {
      return gaps;
    },
  };
}

/** Messages as nodes publish them, whatever comes of them on the bus. */
export class MessageRules {
  readonly #modelIds: readonly number[];
  readonly #fail: (what: string) => void;
  /** By session and subject. */
  readonly #seqs = new Map<string, number>();
  readonly #versions = new Map<string, number>();
  /** By model: audit events by their position. */
  readonly #audited = new Map<number, Map<string, string>>();
  /** Told of without one. */
  readonly #unplaced = new Map<number, string[]>();

  constructor(modelIds: readonly number[], fail: (what: string) => void) {
    this.#modelIds = modelIds;
    this.#fail = fail;
  }

  published(subject: string, payload: Uint8Array): void {
    const problem = malformed(subject, payload);
    if (problem !== undefined) this.#fail(`what is published is well formed: ${problem}`);
    // What nodes say about themselves, and their hints, have no order.
    if (!/\.\d+$/.test(subject)) return;
    const message = JSON.parse(Buffer.from(payload).toString()) as MigrationMessage;
    const wrong = this.#problemOf(subject, message);
    if (wrong !== undefined) this.#fail(`what is published is in order: ${wrong} on ${subject}`);
  }

  /** What was published, against the log: by its position each event is there, and none is another one. */
  checkAudit(modelId: number, kept: ReadonlyMap<string, string>): void {
    for (const [position, told] of this.#audited.get(modelId) ?? []) {
      const event = kept.get(position);
      if (event === told) continue;
      const what = event === undefined ? 'nothing' : event;
      this.#fail(`audit messages are the audit log: at ${position} it has ${what}, told was ${told}`);
    }
  }

  /** Whether an event of the log was told, by its position or by itself. */
  wasTold(modelId: number, position: string, event: string): boolean {
    return (
      this.#audited.get(modelId)?.has(position) === true ||
      this.#unplaced.get(modelId)?.includes(event) === true
    );
  }

  #problemOf(subject: string, message: MigrationMessage): string | undefined {
    const { type, modelId, seq, session } = message;
    if (!this.#modelIds.includes(modelId)) return `model ${modelId}`;
    if (subject !== `godwit.simulated.${type}.${modelId}`) return `a ${type} event of ${modelId}`;
    const line = `${session} ${subject}`;
    const last = this.#seqs.get(line) ?? 0;
    this.#seqs.set(line, seq);
    if (seq !== last + 1) return `seq ${seq} after ${last}`;
    if (message.type === 'audit') return this.#auditProblem(message);
    const before = this.#versions.get(line) ?? 0;
    this.#versions.set(line, message.version);
    return message.version < before ? `version ${message.version} after ${before}` : undefined;
  }

  #auditProblem({ modelId, event, position }: Extract<MigrationMessage, { type: 'audit' }>) {
    if (event.modelId !== modelId) return `an event of ${event.modelName}`;
    const told = JSON.stringify(event);
    if (position === null) {
      this.#unplaced.set(modelId, [...(this.#unplaced.get(modelId) ?? []), told]);
      return undefined;
    }
    const audited = this.#audited.get(modelId) ?? new Map<string, string>();
    this.#audited.set(modelId, audited);
    if (audited.has(position)) return `position ${position} twice`;
    audited.set(position, told);
    return undefined;
  }
}
