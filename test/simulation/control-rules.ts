import type { Intent } from '../../src/migration/intent.ts';
import type { ControlReply } from '../../src/remote/replies.ts';
import { malformed } from '../rig/subject-schemas.ts';
import type { Picture } from './picture.ts';
import { Violation } from './rules.ts';

interface Heard {
  readonly requestId: string;
  readonly verb: string;
  readonly reply: ControlReply;
}

const wants: Readonly<Record<string, Intent['want']>> = { pause: 'pause', resume: 'run', cancel: 'cancel' };

/** Those outside say who they are by the id of their request: so the intent that is written shows from which it came. */
const outsiders = 'outside-';
export const outsider = (requestId: string): string => `${outsiders}${requestId}`;

/**
 * Control requests against what the database says: each is carried out at most once, however often and wherever it
 * comes, and what is answered is what was written. All that a node answers counts, also what is lost on its way.
 */
export class ControlRules {
  readonly #report: (violation: Violation) => void;
  /** What was carried out, or refused for good, by request. */
  readonly #answers = new Map<string, Heard>();
  readonly #written = new Map<string, Intent>();
  /** Requests by which something was approved. */
  readonly #approvals = new Set<string>();
  /** By model and revision: what was wanted while it was in force. Without a word of an operator it is to run. */
  readonly #wanted = new Map<string, Set<Intent['want']>>();

  constructor(report: (violation: Violation) => void) {
    this.#report = report;
  }

  /** Requests that are done: whoever sends one again changes nothing. */
  get settled(): readonly string[] {
    return [...this.#answers.keys()];
  }

  /** Called for each commit that may have written the intent. */
  observe(modelId: number, was: Picture, is: Picture): void {
    const { intent, state } = is;
    this.#approved(was, is);
    this.#inForce(modelId, state?.intentRevision ?? 0, 'run');
    if (intent === undefined) return;
    this.#inForce(modelId, intent.revision, intent.want);
    if (intent.id === was.intent?.id || !intent.by.startsWith(outsiders)) return;
    const requestId = intent.by.slice(outsiders.length);
    const before = this.#written.get(requestId);
    if (before !== undefined) {
      const texts = [before, intent].map(({ want, revision }) => `${want} as ${revision}`);
      this.#report(
        new Violation('a request is carried out at most once', `${requestId}: ${texts.join(', then ')}`),
      );
    }
    this.#written.set(requestId, intent);
  }

  /** An approval that is refused was not given, and one is given once. */
  #approved(was: Picture, { approval }: Picture): void {
    if (approval === undefined || approval.id === was.approval?.id) return;
    if (!approval.by.startsWith(outsiders)) return;
    const requestId = approval.by.slice(outsiders.length);
    if (this.#approvals.has(requestId) || this.#written.has(requestId)) {
      this.#report(new Violation('a request is carried out at most once', `${requestId}: approved again`));
    }
    this.#approvals.add(requestId);
  }

  answered(subject: string, request: Uint8Array, bytes: Uint8Array): void {
    const problem = malformed('request', request) ?? malformed('reply', bytes);
    if (problem !== undefined) this.#report(new Violation('what is said on the bus is well formed', problem));
    const { requestId } = JSON.parse(Buffer.from(request).toString()) as { readonly requestId?: string };
    if (requestId === undefined) return;
    const reply = JSON.parse(Buffer.from(bytes).toString()) as ControlReply;
    const heard: Heard = { requestId, verb: subject.split('.').at(-1) ?? '', reply };
    if (reply.requestId !== requestId) this.#wrong(heard, `is answered as ${reply.requestId ?? 'none'}`);
    // It may be carried out later, or have been.
    if (reply.retryable === true) return;
    if (reply.code === 'REQUEST_ID_REUSED') this.#checkReuse(heard);
    else this.#checkAnswer(heard);
  }

  #checkReuse({ requestId, verb }: Heard): void {
    const before = this.#answers.get(requestId);
    if (before?.verb !== verb) return;
    this.#report(
      new Violation('a repeated request is answered as before', `${requestId}: ${verb} is refused`),
    );
  }

  #checkAnswer(heard: Heard): void {
    const { requestId, verb, reply } = heard;
    const before = this.#answers.get(requestId);
    if (before !== undefined && sameForAll(before) !== sameForAll(heard)) {
      const answers = [before, heard].map((one) => sameForAll(one)).join('\n');
      this.#report(new Violation('a repeated request is answered as before', `${requestId}:\n${answers}`));
    }
    this.#answers.set(requestId, heard);
    const written = this.#written.get(requestId);
    if (!reply.accepted) {
      const isDone = written !== undefined || this.#approvals.has(requestId);
      if (isDone) this.#wrong(heard, `is refused by ${reply.code ?? ''}, and was carried out`);
      return;
    }
    const { modelId = 0, revision = -1 } = reply;
    if (written !== undefined && (written.revision !== revision || written.want !== wants[verb])) {
      this.#wrong(heard, `was answered as ${revision}: written is ${written.want} as ${written.revision}`);
    }
    const wanted = this.#wanted.get(`${modelId}/${revision}`);
    if (wanted === undefined)
      this.#wrong(heard, `is answered by revision ${revision}, which there never was`);
    // What stands still anyway needs no word to pause.
    else if (verb !== 'pause' && wants[verb] !== undefined && !wanted.has(wants[verb])) {
      this.#wrong(heard, `is answered by revision ${revision}, which wanted ${[...wanted].join(' or ')}`);
    }
  }

  #inForce(modelId: number, revision: number, want: Intent['want']): void {
    const key = `${modelId}/${revision}`;
    const wanted = this.#wanted.get(key);
    // No word at all is revision 0.
    if (wanted === undefined) this.#wanted.set(key, new Set([want]));
    else wanted.add(want);
  }

  #wrong({ requestId, verb }: Heard, what: string): void {
    this.#report(new Violation('what is answered is what is in force', `${verb} ${requestId} ${what}`));
  }
}

/** Whichever node answers. */
function sameForAll({ verb, reply: { nodeId: _, ...reply } }: Heard): string {
  return JSON.stringify({ verb, reply });
}
