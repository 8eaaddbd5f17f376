import { RequestException } from '../errors.ts';
import { limits } from '../limits.ts';

/** What can be asked of a migration; `status` changes nothing. */
export type ControlVerb = 'pause' | 'resume' | 'cancel' | 'approve' | 'status';

export const controlVerbs: readonly ControlVerb[] = ['pause', 'resume', 'cancel', 'approve', 'status'];

/** The body of a control request. Empty is `{}`. */
export interface ControlBody {
  /** Of the format; 1 where it is left out. */
  readonly v?: 1 | undefined;
  /** Name of the model, where the subject says `byName`. */
  readonly model?: string | undefined;
  /** Kept with the intent and in the audit; cut to 1,000 characters. */
  readonly reason?: string | undefined;
  /** Who asks, for the same; 1 to 128 characters. Default: the node that answers. */
  readonly by?: string | undefined;
  /** 1 to 128 visible ASCII characters. A repeat is answered as before and changes nothing. */
  readonly requestId?: string | undefined;
  /** Only a node of this database answers. */
  readonly databaseId?: string | undefined;
}

export interface ControlRequest extends Omit<ControlBody, 'model'> {
  readonly verb: ControlVerb;
  /** By id or name; undefined: which models there are. */
  readonly model: number | string | undefined;
}

const maxBytes = limits.cluster.controlBytes.value;
const maxIdLength = limits.cluster.operatorIdLength.value;

const isText = (value: unknown) => typeof value === 'string';
const isName = (value: unknown) =>
  typeof value === 'string' && value.length >= 1 && value.length <= maxIdLength;

export const isRequestId = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= maxIdLength && /^[\x21-\x7e]+$/.test(value);

const rules: {
  readonly [Name in keyof Required<ControlBody>]: readonly [(value: unknown) => boolean, string];
} = {
  v: [(value) => value === 1, '1'],
  model: [isText, 'the name of a model'],
  reason: [isText, 'text'],
  by: [isName, `text of 1 to ${maxIdLength} characters`],
  requestId: [isRequestId, `1 to ${maxIdLength} visible ASCII characters`],
  databaseId: [isText, 'text'],
};

/**
 * `<control>.<model id>.<verb>`, `<control>.byName.<verb>` with the name in the body, or `<control>.all.status`.
 *
 * @throws RequestException CONTROL_TOO_LARGE, CONTROL_INVALID
 */
export function parseControlRequest(control: string, subject: string, payload: Uint8Array): ControlRequest {
  if (payload.byteLength > maxBytes) {
    throw new RequestException('CONTROL_TOO_LARGE', `A request has ${maxBytes} bytes at most.`, {
      details: { bytes: payload.byteLength, maxBytes },
    });
  }
  const { model: name, ...body } = parseBody(payload);
  const [about = '', verb = '', ...more] = subject.slice(control.length + 1).split('.');
  if (more.length > 0 || !isVerb(verb)) {
    throw invalid(`the subject must end in <model id>, byName or all, and one of ${controlVerbs.join(', ')}`);
  }
  if (about === 'byName') {
    if (name === undefined) throw invalid('model must be the name of a model');
    return { verb, model: name, ...body };
  }
  if (name !== undefined) throw invalid('model is for byName alone');
  if (about === 'all') {
    if (verb === 'status') return { verb, model: undefined, ...body };
    throw invalid('all is for status alone');
  }
  if (!/^[1-9]\d{0,15}$/.test(about)) throw invalid('the model id in the subject is no positive integer');
  return { verb, model: Number(about), ...body };
}

function parseBody(payload: Uint8Array): ControlBody {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
  if (text.trim() === '') return {};
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw invalid('the body is not JSON', cause);
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid('the body is no object');
  for (const [name, value] of Object.entries(body)) {
    if (!Object.hasOwn(rules, name)) throw invalid(`there is no property ${name.slice(0, maxIdLength)}`);
    const [holds, demand] = rules[name as keyof ControlBody];
    if (!holds(value)) throw invalid(`${name} must be ${demand}`);
  }
  return body;
}

const isVerb = (verb: string): verb is ControlVerb => controlVerbs.includes(verb as ControlVerb);

function invalid(problem: string, cause?: unknown): RequestException {
  return new RequestException('CONTROL_INVALID', `The control request was refused: ${problem}.`, {
    details: { problem },
    cause,
  });
}
