import { GodwitException, RequestException } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { BusService, MessageBus, Subscription } from './bus.ts';
import type { ControlRequest } from './control-request.ts';
import { parseControlRequest } from './control-request.ts';

/** What a request did, in the words of whoever carries it out. */
export type ControlOutcome = { readonly accepted: boolean; readonly code?: string | undefined } & Readonly<
  Record<string, unknown>
>;

export interface ControlServiceOptions {
  readonly bus: MessageBus;
  readonly clock: Clock;
  /** `<prefix>.<store>.control` */
  readonly subject: string;
  readonly service: Pick<BusService, 'name' | 'version' | 'description' | 'metadata'>;
  /** Stands in every reply. */
  readonly self: { readonly store: string; readonly databaseId: string; readonly nodeId: string };
  /** Ids of other databases whose stores have this name. */
  readonly namesakes: () => readonly string[];
  /** What it throws is answered by its code. The signal aborts when its time is over. */
  readonly carryOut: (request: ControlRequest, signal: AbortSignal) => Promise<ControlOutcome>;
  readonly onFailure: (error: unknown) => void;
}

const maxAtOnce = limits.cluster.controlsAtOnce.value;
const timeoutMs = limits.cluster.controlMs.value;

/**
 * Answers control requests in the name of one node: of all nodes of a database, which make up one group of the bus,
 * exactly one is asked. A refusal is an answer too. Where a bus cannot be asked, nobody is there to answer.
 */
export function serveControl(options: ControlServiceOptions): Subscription {
  const { bus, subject, self } = options;
  const group = `godwit-${self.databaseId}`;
  let underWay = 0;

  const answer = async (payload: Uint8Array, asked: string): Promise<Uint8Array | undefined> => {
    let requestId: string | undefined;
    try {
      const request = parseControlRequest(subject, asked, payload);
      ({ requestId } = request);
      if (request.databaseId === undefined) refuseIfAmbiguous(options);
      else if (request.databaseId !== self.databaseId) return undefined;
      if (underWay >= maxAtOnce) throw busy();
      underWay += 1;
      try {
        return reply(self, requestId, await withinTime(options, request));
      } finally {
        underWay -= 1;
      }
    } catch (error) {
      if (!(error instanceof GodwitException)) options.onFailure(error);
      return reply(self, requestId, refusalOf(error));
    }
  };

  const whole: BusService = { ...options.service, subject: `${subject}.>`, group, answer };
  if (bus.serve !== undefined) return bus.serve(whole);
  return bus.respond?.(whole.subject, group, answer) ?? { unsubscribe: () => undefined };
}

function reply(
  self: ControlServiceOptions['self'],
  requestId: string | undefined,
  outcome: ControlOutcome,
): Uint8Array {
  return Buffer.from(JSON.stringify({ v: 1, ...self, requestId, ...outcome }));
}

async function withinTime(
  { clock, carryOut }: ControlServiceOptions,
  request: ControlRequest,
): Promise<ControlOutcome> {
  const controller = new AbortController();
  const timer = clock.setTimeout(() => controller.abort(), timeoutMs);
  try {
    return await carryOut(request, controller.signal);
  } catch (error) {
    if (error instanceof GodwitException && error.code === 'STORE_CLOSED') throw closing(error);
    if (!controller.signal.aborted) throw error;
    throw new RequestException('CONTROL_FAILED', `The database did not answer within ${timeoutMs} ms.`, {
      details: { timeoutMs },
      cause: error,
    });
  } finally {
    clock.clearTimeout(timer);
  }
}

function refusalOf(error: unknown): ControlOutcome {
  if (error instanceof GodwitException) {
    const { code, message, retryable } = error;
    return { accepted: false, code, message, retryable };
  }
  // Its text may tell of what is nobody's business outside.
  const message = 'The request could not be carried out; the log of the node has the cause.';
  return { accepted: false, code: 'CONTROL_FAILED', message, retryable: true };
}

function refuseIfAmbiguous({ namesakes, self }: ControlServiceOptions): void {
  const others = namesakes();
  if (others.length === 0) return;
  throw new RequestException(
    'STORE_AMBIGUOUS',
    `Stores of several databases are called ${self.store} here: pass the databaseId of one of them.`,
    { details: { databaseIds: [self.databaseId, ...others] } },
  );
}

/** Asked a moment too late: another node, or the next process, carries it out. */
function closing(cause: unknown): RequestException {
  return new RequestException('CONTROL_FAILED', 'The node that was asked closes its store.', { cause });
}

function busy(): RequestException {
  return new RequestException('CONTROL_BUSY', `${maxAtOnce} control requests are under way already.`, {
    details: { maxAtOnce },
  });
}
