import { MigrationException } from '../errors.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type {
  ForcedRelease,
  LeaseExplanation,
  LeaseHandle,
  LeaseParts,
  LeaseRefused,
  LeaseRequest,
  MigrationLease,
  MigrationLeaseFactory,
} from './lease.ts';
import { leaseLost } from './lease.ts';

/** What is asked for: the model by its id, and the migration that it is to have. */
export interface OwnershipQuestion {
  readonly modelId: number;
  readonly migrationId: string;
  readonly nodeId: string;
}

export interface ExternalOwnerOptions {
  /**
   * Whether this process is the one that migrates now. Asked before each attempt to acquire, and, where there is no
   * `onLost`, with each heartbeat. Where it throws before an attempt, the attempt is made again later; where it throws
   * with a heartbeat, this process goes on: a second owner would fence it off.
   */
  isOwner(question: OwnershipQuestion): boolean | Promise<boolean>;
  /**
   * Calls `lost` when this process must not migrate any more, and answers a function that ends the listening. Default:
   * `isOwner` is asked with each heartbeat.
   */
  onLost?(lost: () => void, question: OwnershipQuestion): () => void;
}

/**
 * For `migrationLease`: an orchestrator decides who migrates, a leader election of Kubernetes for one. Epochs and the
 * guard of every commit stay those of the default lease, so two processes that both believe to be the owner do no harm:
 * the later one displaces the earlier, after one heartbeat in which that one may release by itself.
 */
export function externalOwner(options: ExternalOwnerOptions): MigrationLeaseFactory {
  return (parts) => new ExternallyOwnedLease(options, parts);
}

class ExternallyOwnedLease implements MigrationLease {
  readonly #options: ExternalOwnerOptions;
  readonly #lease: MigrationLease;
  readonly #clock: Clock;
  readonly #heartbeatMs: number;

  constructor(options: ExternalOwnerOptions, { lease, clock, heartbeatMs }: LeaseParts) {
    this.#options = options;
    this.#lease = lease;
    this.#clock = clock;
    this.#heartbeatMs = heartbeatMs;
  }

  async acquire(request: LeaseRequest): Promise<LeaseHandle | LeaseRefused> {
    if (!(await this.#ask(request))) return this.#refused(request);
    const first = await this.#lease.acquire(request);
    if (first.refused !== true) return this.#watch(first, request);
    await first.worthRetrying(request.signal);
    if (request.signal.aborted || !(await this.#ask(request))) return this.#refused(request);
    const second = await this.#lease.acquire({ ...request, displaces: true });
    return second.refused === true ? second : this.#watch(second, request);
  }

  explain(modelId: number): Promise<LeaseExplanation | undefined> {
    return this.#lease.explain(modelId);
  }

  async forceRelease(request: ForcedRelease): Promise<LeaseExplanation | undefined> {
    return this.#lease.forceRelease?.(request);
  }

  async #ask({ modelId, migrationId, nodeId }: OwnershipQuestion): Promise<boolean> {
    try {
      return await this.#options.isOwner({ modelId, migrationId, nodeId });
    } catch (cause) {
      throw new MigrationException(
        'OWNER_UNKNOWN',
        `The application could not say who is to migrate model ${modelId}: isOwner threw.`,
        { cause, details: { modelId } },
      );
    }
  }

  async #refused({ modelId }: LeaseRequest): Promise<LeaseRefused> {
    const holder = await this.#lease.explain(modelId);
    return {
      refused: true,
      holder: holder?.held === true ? holder : undefined,
      worthRetrying: (signal) => sleep(this.#clock, this.#heartbeatMs, signal),
    };
  }

  #watch(handle: LeaseHandle, request: LeaseRequest): LeaseHandle {
    const { modelId, migrationId, nodeId } = request;
    const question = { modelId, migrationId, nodeId };
    const over = new AbortController();
    const lose = () => {
      over.abort(leaseLost(handle.epoch));
      end();
    };
    const end = this.#options.onLost?.(lose, question) ?? this.#poll(lose, question, handle.lost);
    handle.lost.addEventListener('abort', end, { once: true });
    return {
      epoch: handle.epoch,
      takeover: handle.takeover,
      lost: AbortSignal.any([handle.lost, over.signal]),
      async guard(tx) {
        over.signal.throwIfAborted();
        await handle.guard(tx);
      },
      release() {
        end();
        return handle.release();
      },
    };
  }

  #poll(lose: () => void, question: OwnershipQuestion, lost: AbortSignal): () => void {
    let timer: unknown;
    let isOver = false;
    const ask = async () => {
      const isOwner = await this.#ask(question).catch(() => true);
      if (isOver || lost.aborted) return;
      if (isOwner) again();
      else lose();
    };
    const again = () => {
      timer = this.#clock.setTimeout(() => void ask(), this.#heartbeatMs);
    };
    again();
    return () => {
      isOver = true;
      this.#clock.clearTimeout(timer);
    };
  }
}
