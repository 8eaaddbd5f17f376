import { encodeTuple } from './tuple.ts';

/**
 * Every key in the database. All of them are tuples under the store's subspace:
 *
 * | key | value |
 * |---|---|
 * | `(0, 'store')` | format, database id and whether fences are cached, written at the first open |
 * | `(1, model, 'fence')` | which definition is published, and whether the model is migrating; read by every data transaction |
 * | `(1, model, 'definition', schemaId, part)` | every definition that records of the model may be written under |
 * | `(1, model, 'owner')` | who may migrate the model, and the epoch; changes only when ownership does |
 * | `(1, model, 'beat')` | the owner's heartbeat; no chunk reads it |
 * | `(1, model, 'intent')` | what the operator wants; read by every chunk |
 * | `(1, model, 'state')` | `MigrationState`; changes at step boundaries, no chunk reads it |
 * | `(1, model, 'touched')` | set once a migration has committed a record or run a handler: no way back by itself from then on |
 * | `(1, model, 'verification')` | what the last verification found |
 * | `(1, model, 'approval')` | an operator's approval of what was verified; the transaction that starts Contract reads it |
 * | `(1, model, 'garbage')` | prefixes to sweep: replaced indexes, left key spaces |
 * | `(1, model, 'range', pass, n)` | one range of a pass: begin, end, cursor, claim, counts, what is in it and what it took |
 * | `(1, model, 'counter', name)` | one counter of `migrationMetrics`, 8 bytes little-endian |
 * | `(1, model, 'answer', requestId)` | what an operator's request was answered, for when it comes again |
 * | `(1, model, 'answerNumber', n)` | whose the nth answer was: the oldest are forgotten |
 * | `(1, model, 'auditCount')` | how many audit events are kept, 8 bytes little-endian |
 * | `(2, model, keySpace) + key` | a record |
 * | `(3, model, indexId) + values (+ key)` | an index entry |
 * | `(4, model) + versionstamp` | one audit event |
 * | `(5, model, migrationId, keySpace) + key` | a record in quarantine |
 * | `(6, session)` | a process that moves ranges, and its heartbeat |
 */
const area = { store: 0, model: 1, records: 2, index: 3, audit: 4, quarantine: 5, sessions: 6 } as const;

/** A half-open slice of the key space. */
export interface KeyRange {
  readonly begin: Buffer;
  readonly end: Buffer;
}

/** What a pass over the records is for: each has ranges of its own. */
export type PassName = 'backfill' | 'verify' | 'index';
export const passNames: readonly PassName[] = ['backfill', 'index', 'verify'];

export interface ModelKeys {
  /** Of the store: whoever writes a fence reads it. */
  readonly store: Buffer;
  readonly fence: Buffer;
  readonly owner: Buffer;
  readonly beat: Buffer;
  readonly intent: Buffer;
  readonly state: Buffer;
  readonly touched: Buffer;
  readonly verification: Buffer;
  readonly approval: Buffer;
  readonly garbage: Buffer;
  readonly audit: Buffer;
  readonly auditCount: Buffer;
  readonly definitions: Buffer;
  definition(schemaId: number): Buffer;
  readonly counters: Buffer;
  counter(name: string): Buffer;
  answer(requestId: string): Buffer;
  readonly answerNumbers: Buffer;
  answerNumber(number: number): Buffer;
  ranges(pass?: PassName): Buffer;
  range(pass: PassName, number: number): Buffer;
  records(keySpace: number): Buffer;
  index(indexId: number): Buffer;
  /** Records in quarantine: all of them, or those of one migration from one key space. */
  readonly quarantine: Buffer;
  quarantineOf(migrationId: string, keySpace: number): Buffer;
}

export interface StoreKeys {
  /** Everything of this store lies under it. */
  readonly prefix: Buffer;
  readonly store: Buffer;
  /** What every model has lies under it, by the model's id. */
  readonly models: Buffer;
  readonly sessions: Buffer;
  session(session: string): Buffer;
  model(modelId: number): ModelKeys;
}

export type Subspace = readonly (string | number)[];

export function createStoreKeys(subspace: Subspace): StoreKeys {
  const prefix = encodeTuple(subspace);
  const under = (...elements: (string | number)[]) => Buffer.concat([prefix, encodeTuple(elements)]);
  const store = under(area.store, 'store');
  const models = new Map<number, ModelKeys>();
  return {
    prefix,
    store,
    models: under(area.model),
    sessions: under(area.sessions),
    session: (session) => under(area.sessions, session),
    model(modelId) {
      const known = models.get(modelId);
      if (known !== undefined) return known;
      const own = under(area.model, modelId);
      const meta = (...elements: (string | number)[]) => Buffer.concat([own, encodeTuple(elements)]);
      const keys: ModelKeys = {
        store,
        fence: meta('fence'),
        owner: meta('owner'),
        beat: meta('beat'),
        intent: meta('intent'),
        state: meta('state'),
        touched: meta('touched'),
        verification: meta('verification'),
        approval: meta('approval'),
        garbage: meta('garbage'),
        audit: under(area.audit, modelId),
        auditCount: meta('auditCount'),
        definitions: meta('definition'),
        definition: (schemaId) => meta('definition', schemaId),
        counters: meta('counter'),
        counter: (name) => meta('counter', name),
        answer: (requestId) => meta('answer', requestId),
        answerNumbers: meta('answerNumber'),
        answerNumber: (number) => meta('answerNumber', number),
        ranges: (pass) => (pass === undefined ? meta('range') : meta('range', pass)),
        range: (pass, number) => meta('range', pass, number),
        records: (keySpace) => under(area.records, modelId, keySpace),
        index: (indexId) => under(area.index, modelId, indexId),
        quarantine: under(area.quarantine, modelId),
        quarantineOf: (migrationId, keySpace) => under(area.quarantine, modelId, migrationId, keySpace),
      };
      models.set(modelId, keys);
      return keys;
    },
  };
}

/** All keys that begin with `prefix`. */
export function rangeOf(prefix: Uint8Array): KeyRange {
  return { begin: Buffer.from(prefix), end: keyAfterPrefix(prefix) };
}

/** The first key behind all keys that begin with `prefix`. */
export function keyAfterPrefix(prefix: Uint8Array): Buffer {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1;
  if (length === 0) throw new RangeError('no key lies behind this prefix');
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

/** The first key behind `key`. */
export function keyAfter(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.of(0)]);
}
