import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import type { Intent } from '../../src/migration/intent.ts';
import { readAnyIntent } from '../../src/migration/intent.ts';
import type { Owner } from '../../src/migration/owner.ts';
import { readOwner } from '../../src/migration/owner.ts';
import type { RangeRow } from '../../src/migration/passes/ledger.ts';
import { readRanges, totalsOf } from '../../src/migration/passes/ledger.ts';
import type { MigrationState } from '../../src/migration/state.ts';
import { migrationPhases, readState } from '../../src/migration/state.ts';
import type { Fence } from '../../src/records/fence.ts';
import { readFence } from '../../src/records/fence.ts';
import type { ModelKeys, PassName, StoreKeys } from '../../src/records/keys.ts';
import type { StoredForms } from '../../src/records/stored-forms.ts';
import { createStoredForms } from '../../src/records/stored-forms.ts';
import { hopsOf, poisonLabel } from './programs.ts';
import type { SimCommit } from './sim-database.ts';

/** A rule that no commit may break: what it is, and what broke it. */
export class Violation extends Error {
  constructor(rule: string, what: string) {
    super(`${rule}: ${what}`);
    this.name = 'Violation';
  }
}

/** What the database says of a model at one moment. */
interface Picture {
  readonly fence: Fence | undefined;
  readonly owner: Owner | undefined;
  readonly state: MigrationState | undefined;
  readonly intent: Intent | undefined;
  readonly isTouched: boolean;
  readonly ranges: Readonly<Record<PassName, readonly RangeRow[]>>;
}

interface Watched {
  readonly id: number;
  readonly keys: ModelKeys;
  readonly forms: StoredForms;
  readonly recordPrefixes: readonly string[];
  readonly rangePrefix: string;
  /** What applications wrote: label by the key, whichever key space it lies in. */
  readonly written: Map<string, string>;
  /** Taken out by a migration that may do so. */
  readonly quarantined: Set<string>;
  /** Counts how often the gate was closed, while it is. */
  closed: number | undefined;
}

const passes: readonly PassName[] = ['backfill', 'index', 'verify'];
/** More than any run of a simulation needs. */
const keySpaces = 8;
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Checks every commit against the rules of the protocol, by the database alone. */
export class Invariants {
  readonly #database: KeyValueDatabase;
  readonly #prefix: string;
  readonly #models: readonly Watched[];
  readonly #report: (violation: Violation) => void;
  #closings = 0;

  constructor(
    database: KeyValueDatabase,
    keys: StoreKeys,
    modelIds: readonly number[],
    report: (violation: Violation) => void,
  ) {
    this.#database = database;
    this.#prefix = latin1(keys.prefix);
    this.#report = report;
    this.#models = modelIds.map((id) => {
      const own = keys.model(id);
      return {
        id,
        keys: own,
        forms: createStoredForms(own),
        recordPrefixes: Array.from({ length: keySpaces }, (_, keySpace) => latin1(own.records(keySpace))),
        rangePrefix: latin1(own.ranges()),
        written: new Map(),
        quarantined: new Set(),
        closed: undefined,
      };
    });
  }

  /** By model id: label by key of every record that has to be there. */
  expected(modelId: number): ReadonlyMap<string, string> {
    const model = this.#models.find(({ id }) => id === modelId);
    if (model === undefined) return new Map();
    return new Map([...model.written].filter(([key]) => !model.quarantined.has(key)));
  }

  /** Which closing of its gate a model is behind; undefined while it is open. */
  closedGate(modelId: number): number | undefined {
    return this.#models.find(({ id }) => id === modelId)?.closed;
  }

  /** Called before a commit is applied; what it answers, after. */
  async observe(commit: SimCommit): Promise<(() => Promise<void>) | undefined> {
    this.#requireSubspace(commit);
    const touched = this.#models.filter((model) => concerns(commit, model));
    if (touched.length === 0) return undefined;
    const before = await this.#pictures(touched);
    const records = await Promise.all(touched.map((model) => this.#recordsBefore(commit, model)));
    return async () => {
      const after = await this.#pictures(touched);
      for (const [at, model] of touched.entries()) {
        const [was, is] = [before[at], after[at]];
        if (was === undefined || is === undefined) continue;
        if (is.fence?.state !== 'migrating') model.closed = undefined;
        else if (was.fence?.state !== 'migrating') model.closed = this.#closings += 1;
        try {
          checkOwnership(was, is);
          checkFence(was, is);
          checkState(was, is);
          for (const pass of passes) checkRanges(commit, was, is, pass);
          await this.#checkRecords(commit, model, was, is, records[at] ?? new Map());
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          this.#report(error);
        }
      }
    };
  }

  #requireSubspace({ sets, clears, clearedRanges, stamped }: SimCommit): void {
    const all = [...sets.keys(), ...clears, ...stamped, ...clearedRanges.flat()];
    const outside = all.find(
      (key) => !key.startsWith(this.#prefix) && !key.startsWith('\u00ff/metadataVersion'),
    );
    if (outside !== undefined) {
      this.#report(new Violation('no key outside the subspace is touched', bytesOf(outside).toString('hex')));
    }
  }

  #pictures(models: readonly Watched[]): Promise<Picture[]> {
    return this.#read((tx) => Promise.all(models.map((model) => readPicture(tx, model))));
  }

  async #recordsBefore(commit: SimCommit, model: Watched): Promise<Map<string, Buffer>> {
    const keys = [...commit.sets.keys(), ...commit.clears].filter(
      (key) => recordOf(model, key) !== undefined,
    );
    if (keys.length === 0) return new Map();
    const values = await this.#read((tx) => Promise.all(keys.map((key) => tx.get(bytesOf(key)))));
    return new Map(keys.flatMap((key, at) => (values[at] === undefined ? [] : [[key, values[at]]])));
  }

  async #checkRecords(
    commit: SimCommit,
    model: Watched,
    was: Picture,
    is: Picture,
    before: ReadonlyMap<string, Buffer>,
  ): Promise<void> {
    const sets = [...commit.sets].filter(([key]) => recordOf(model, key) !== undefined);
    const cleared = [...commit.clears].filter((key) => before.has(key) && recordOf(model, key) !== undefined);
    if (sets.length === 0 && cleared.length === 0) return;
    const isMigrating = was.fence?.state === 'migrating';
    if (isMigrating) requireOwner(commit, was, is, 'behind the gate only the owner writes records');
    const decode = (value: Buffer) => this.#read((tx) => model.forms.decode(tx, value));
    for (const [key, value] of sets) {
      const record = recordOf(model, key) ?? '';
      const { record: now, definition } = await decode(value);
      const label = String(now['label']);
      if (now['hops'] !== hopsOf(definition.version)) {
        throw new Violation(
          'a record is the transform of its old form, once',
          `${record} of ${definition.version} was moved ${String(now['hops'])} times`,
        );
      }
      if (!isMigrating) {
        model.written.set(record, label);
        model.quarantined.delete(record);
        continue;
      }
      if (model.written.get(record) !== label) {
        throw new Violation('a migration changes no value that its transform keeps', `${record}: ${label}`);
      }
      const old = before.get(key);
      if (old !== undefined && (await decode(old)).definition.version === definition.version) {
        throw new Violation('a record is written once', `${record} of ${definition.version} again`);
      }
    }
    for (const key of cleared) {
      const record = recordOf(model, key) ?? '';
      if (!isMigrating) model.written.delete(record);
      else if (model.written.get(record) === poisonLabel) model.quarantined.add(record);
      else throw new Violation('a migration loses no record', record);
    }
  }

  #read<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#database.transact(body);
  }
}

function concerns({ sets, clears, clearedRanges }: SimCommit, { keys, recordPrefixes }: Watched): boolean {
  const own = latin1(keys.fence).slice(0, -1);
  const modelPrefix = own.slice(0, own.lastIndexOf('\u0002'));
  const isOwn = (key: string) =>
    key.startsWith(modelPrefix) || recordPrefixes.some((prefix) => key.startsWith(prefix));
  for (const key of sets.keys()) if (isOwn(key)) return true;
  for (const key of clears) if (isOwn(key)) return true;
  return clearedRanges.some(([begin]) => isOwn(begin));
}

/** The key of a record without its key space; undefined for what is no record. */
function recordOf({ recordPrefixes }: Watched, key: string): string | undefined {
  const prefix = recordPrefixes.find((candidate) => key.startsWith(candidate));
  return prefix === undefined ? undefined : bytesOf(key.slice(prefix.length)).toString('hex');
}

async function readPicture(tx: Transaction, { keys }: Watched): Promise<Picture> {
  const [fence, owner, state, intent, touched, backfill, index, verify] = await Promise.all([
    readFence(tx, keys),
    readOwner(tx, keys),
    readState(tx, keys),
    readAnyIntent(tx, keys),
    tx.get(keys.touched),
    readRanges(tx, keys, 'backfill'),
    readRanges(tx, keys, 'index'),
    readRanges(tx, keys, 'verify'),
  ]);
  return {
    fence,
    owner,
    state,
    intent,
    isTouched: touched !== undefined,
    ranges: { backfill, index, verify },
  };
}

function requireOwner({ node }: SimCommit, { owner }: Picture, after: Picture, rule: string): void {
  const isOwner = owner !== undefined && owner.token !== '' && node.process.sessions.has(owner.session);
  if (isOwner && after.owner?.token === owner.token) return;
  throw new Violation(
    rule,
    `${node.name} wrote, ${owner?.nodeId ?? 'nobody'} owns under ${owner?.epoch ?? 0}`,
  );
}

function checkOwnership({ owner: was }: Picture, { owner: is }: Picture): void {
  if (was === undefined) return;
  if (is === undefined) throw new Violation('an owner row is never lost', `epoch ${was.epoch}`);
  const isGranted = is.token !== '' && is.token !== was.token;
  if (is.epoch < was.epoch || (isGranted && is.epoch <= was.epoch)) {
    throw new Violation('epochs only grow', `${was.epoch} to ${is.epoch}`);
  }
}

function checkFence(was: Picture, is: Picture): void {
  const before = was.fence;
  const after = is.fence;
  if (before === undefined || after === undefined) return;
  if (after.schemaEpoch < before.schemaEpoch) throw new Violation('schema epochs only grow', 'fence');
  if (before.state === 'ready' && after.state === 'migrating' && (is.owner?.token ?? '') === '') {
    throw new Violation('the gate closes with the ownership', `epoch ${is.owner?.epoch ?? 0}`);
  }
  if (before.state !== 'migrating' || after.state !== 'ready') return;
  const isPublished = after.schemaId === before.target?.schemaId && after.schemaId !== before.schemaId;
  if (!isPublished) {
    if (was.isTouched)
      throw new Violation('the gate opens with a publication', 'records were written before');
    return;
  }
  const { state } = was;
  if (state?.phase !== 'Contract' || !state.phaseCompleted) {
    throw new Violation('published is what was contracted', `${state?.phase ?? 'no phase'}`);
  }
  if (is.state !== undefined || Object.values(is.ranges).some((rows) => rows.length > 0)) {
    throw new Violation('state and ranges end with the publication', state.migrationId);
  }
}

function checkState(was: Picture, is: Picture): void {
  const before = was.state;
  const after = is.state;
  if (before === undefined || after === undefined || before.migrationId !== after.migrationId) return;
  if (after.revision < before.revision) throw new Violation('revisions only grow', before.migrationId);
  const [from, to] = [migrationPhases.indexOf(before.phase), migrationPhases.indexOf(after.phase)];
  if (after.revision === before.revision) return;
  // Canceled or failed before anything was written, it opened the model again, and closes it anew.
  const beginsAnew = after.phase === 'Expand' && was.fence?.state === 'ready';
  if (to < from && !beginsAnew)
    throw new Violation('phases only go forward', `${before.phase} to ${after.phase}`);
  if (to > from && !(to === from + 1 && before.phaseCompleted)) {
    throw new Violation(
      'a phase begins when the one before it is completed',
      `${before.phase} to ${after.phase}`,
    );
  }
  const isHalted = ['Paused', 'Canceled', 'Failed'].includes(before.status);
  if (!isHalted || before.status === after.status) return;
  const isResumed = is.intent?.want === 'run' && (is.intent.revision ?? 0) > before.intentRevision;
  const isCanceled = after.status === 'Canceled' && is.intent?.want === 'cancel';
  if (!isResumed && !isCanceled) {
    throw new Violation(
      'what stands still goes on only by an operator',
      `${before.status} to ${after.status}`,
    );
  }
}

function checkRanges(commit: SimCommit, was: Picture, is: Picture, pass: PassName): void {
  const [before, after] = [was.ranges[pass], is.ranges[pass]];
  if (after.length === 0) return;
  const isSame = before.length > 0 && before.every((row, at) => row.seq <= (after[at]?.seq ?? -1));
  const begins = after.map(({ begin }) => Buffer.from(begin, 'base64'));
  for (const [at, row] of after.entries()) {
    const next = begins[at + 1];
    if (next !== undefined && Buffer.compare(Buffer.from(row.end, 'base64'), next) > 0) {
      throw new Violation('ranges are disjoint', `${pass} ${at}`);
    }
    const old = before[at];
    if (!isSame || old === undefined || old.seq === row.seq) continue;
    if (cursorOf(row).compare(cursorOf(old)) < 0) throw new Violation('cursors only grow', `${pass} ${at}`);
    if (row.recordsRead < old.recordsRead || row.moved < old.moved) {
      throw new Violation('counts only grow', `${pass} ${at}`);
    }
    if (row.recordsRead !== row.moved + row.dropped + row.quarantined && pass === 'backfill') {
      throw new Violation('read is moved, dropped or in quarantine', `${pass} ${at}`);
    }
    requireOwner(commit, was, is, 'only the owner advances ranges');
  }
  if (isSame && totalsOf(after).fraction < totalsOf(before).fraction) {
    throw new Violation('progress never falls', `${pass}`);
  }
}

const cursorOf = ({ cursor }: RangeRow): Buffer => Buffer.from(cursor ?? '', 'base64');
