import type { ControlBody, ControlVerb } from '../cluster/control-request.ts';
import { GodwitException, RequestException } from '../errors.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep, systemClock } from '../ports/clock.ts';
import { systemRandom } from '../ports/random.ts';
import type { RemoteBus, RemoteConnection } from './connection.ts';
import { busOf } from './connection.ts';
import type { ControlReply } from './replies.ts';
import { parseReply } from './replies.ts';

/** Which store is meant. */
export interface RemoteStore {
  /** Its `storeName`. */
  readonly store: string;
  /** Its `subjectPrefix`. Default `godwit`. */
  readonly prefix?: string | undefined;
  /** Needed where stores of several databases have this name on the bus. Default: the only one. */
  readonly databaseId?: string | undefined;
}

export interface ControlOptions extends RemoteStore {
  /** Id or name. */
  readonly model: number | string;
  readonly verb: ControlVerb;
  /** Kept with the intent and in the audit. Default: what the operator calls of a store say. */
  readonly reason?: string | undefined;
  /** Who asks, for the same. Default: the node that answers. */
  readonly by?: string | undefined;
  /** Carried out once, however often it is sent. Default: one of its own for each call. */
  readonly requestId?: string | undefined;
  /** How long an answer is waited for, over all tries. Milliseconds from 1; default 10,000. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One try is waited for no longer, milliseconds: whoever was asked may have died. */
const tryMs = 2_000;
/** Between two tries, milliseconds. */
const pauseMs = 250;

/**
 * Pauses, resumes, cancels or approves a migration through whichever node answers, or asks for its status. Where nobody answers, or
 * the node could not carry it out, it is asked again under the same id, so that it is carried out once.
 *
 * The answer tells whether it was accepted, and if not, why; it throws only where there was none: at once, with `refused` in
 * the details, where the server does not let this user ask.
 *
 * @throws RequestException BUS_UNANSWERED, TIMEOUT, ABORTED
 */
export async function controlMigration(
  connection: RemoteConnection,
  { store, prefix = 'godwit', model, verb, signal, timeoutMs = 10_000, ...given }: ControlOptions,
): Promise<ControlReply> {
  const about = typeof model === 'number' ? String(model) : 'byName';
  const body: ControlBody = {
    requestId: systemRandom.id(),
    ...defined(given),
    ...(typeof model === 'string' ? { model } : {}),
  };
  const subject = `${prefix}.${store}.control.${about}.${verb}`;
  return ask(busOf(connection), subject, body, { timeoutMs, signal });
}

/** Until there is an answer that another try would not change. */
export async function ask(
  bus: RemoteBus,
  subject: string,
  body: ControlBody,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
  clock: Clock = systemClock,
): Promise<ControlReply> {
  const payload = Buffer.from(JSON.stringify(body));
  const endMs = clock.monotonicMs() + timeoutMs;
  const leftMs = () => endMs - clock.monotonicMs();
  for (;;) {
    const isLast = leftMs() <= tryMs + pauseMs;
    try {
      const within = Math.max(1, Math.min(tryMs, leftMs()));
      const answer = await bus.request(subject, payload, { timeoutMs: within, signal });
      const reply = parseReply(answer, subject, body);
      if (reply.retryable !== true || isLast) return reply;
    } catch (error) {
      if (!(error instanceof GodwitException) || !error.retryable || isRefusal(error)) throw error;
      if (leftMs() <= pauseMs) throw error;
    }
    await sleep(clock, Math.min(pauseMs, Math.max(0, leftMs())), signal);
    if (signal?.aborted === true)
      throw new RequestException('ABORTED', `The question to ${subject} was given up.`);
  }
}

/** The server does not let this user ask, and will not the next time either. */
const isRefusal = ({ details }: GodwitException) => details['refused'] === true;

/** Without what was left out: nobody has to tell undefined from absent. */
function defined<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}
