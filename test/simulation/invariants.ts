import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import type { ModelKeys, StoreKeys } from '../../src/records/keys.ts';
import type { StoredForms } from '../../src/records/stored-forms.ts';
import { createStoredForms } from '../../src/records/stored-forms.ts';
import type { ControlRules } from './control-rules.ts';
import type { Picture } from './picture.ts';
import { Pictures } from './picture.ts';
import { hopsOf, mayBeSetAside } from './programs.ts';
import { checkCommit, requireMigrator, Violation } from './rules.ts';
import type { SimCommit } from './sim-database.ts';
import { ProgressWatch } from './progress-watch.ts';

interface Watched {
  readonly id: number;
  readonly keys: ModelKeys;
  readonly forms: StoredForms;
  readonly pictures: Pictures;
  readonly progress: ProgressWatch;
  readonly recordPrefix: string;
  /** What applications wrote: label by id, whichever key the record has. */
  readonly written: Map<string, string>;
  /** Taken out by a migration that may do so. */
  readonly quarantined: Set<string>;
  /** Counts how often the gate was closed, while it is. */
  closed: number | undefined;
}

interface StoredRecord {
  readonly id: string;
  readonly label: string;
  readonly hops: number;
  readonly version: string;
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');

/** Checks every commit against the rules of the protocol, by the database alone. */
export class Invariants {
  readonly #database: KeyValueDatabase;
  readonly #prefix: string;
  readonly #models: readonly Watched[];
  readonly #report: (violation: Violation) => void;
  readonly #control: ControlRules;
  #closings = 0;

  constructor(
    database: KeyValueDatabase,
    keys: StoreKeys,
    modelIds: readonly number[],
    report: (violation: Violation) => void,
    control: ControlRules,
  ) {
    this.#control = control;
    this.#database = database;
    this.#prefix = latin1(keys.prefix);
    this.#report = report;
    this.#models = modelIds.map((id) => {
      const own = keys.model(id);
      // The next model's records begin where those of all key spaces end.
      const [some, other] = [own.records(0), own.records(1)];
      const shared = some.findIndex((byte, at) => byte !== other[at]);
      return {
        id,
        keys: own,
        forms: createStoredForms(own),
        pictures: new Pictures(database, own),
        progress: new ProgressWatch(database, keys, id),
        recordPrefix: latin1(some.subarray(0, shared)),
        written: new Map(),
        quarantined: new Set(),
        closed: undefined,
      };
    });
  }

  /** By model id: label by id of every record that has to be there. */
  expected(modelId: number): ReadonlyMap<string, string> {
    const model = this.#models.find(({ id }) => id === modelId);
    if (model === undefined) return new Map();
    return new Map([...model.written].filter(([id]) => !model.quarantined.has(id)));
  }

  /** Ids of records that a migration took out and nobody has put back. */
  setAside(modelId: number): ReadonlySet<string> {
    return this.#models.find(({ id }) => id === modelId)?.quarantined ?? new Set();
  }

  /** Which closing of its gate a model is behind; undefined while it is open. */
  closedGate(modelId: number): number | undefined {
    return this.#models.find(({ id }) => id === modelId)?.closed;
  }

  /** Called before a commit is applied; what it answers, after. */
  async observe(commit: SimCommit): Promise<(() => Promise<void>) | undefined> {
    this.#requireSubspace(commit);
    const touched = this.#models.flatMap((model) => {
      const records = recordsIn(commit, model);
      const isPictureChanged = model.pictures.isChangedBy(commit);
      return records.length > 0 || isPictureChanged ? [{ model, records, isPictureChanged }] : [];
    });
    if (touched.length === 0) return undefined;
    const before = await Promise.all(touched.map(({ model, records }) => this.#stored(model, records)));
    return async () => {
      for (const [at, { model, isPictureChanged }] of touched.entries()) {
        const was = model.pictures.current;
        if (isPictureChanged) await model.pictures.update(commit);
        const is = model.pictures.current;
        this.#control.observe(model.id, was, is);
        if (is.fence?.state !== 'migrating') model.closed = undefined;
        else if (was.fence?.state !== 'migrating') model.closed = this.#closings += 1;
        try {
          if (isPictureChanged) {
            checkCommit(commit, was, is);
            await model.progress.look(was, is);
          }
          await this.#checkRecords(commit, model, was, is, before[at] ?? new Map());
        } catch (error) {
          if (!(error instanceof Violation)) throw error;
          this.#report(error);
        }
      }
    };
  }

  #requireSubspace({ sets, clears, clearedRanges, stamped }: SimCommit): void {
    const isInside = (key: string) =>
      key.startsWith(this.#prefix) || key.startsWith('\u00ff/metadataVersion');
    for (const keys of [sets.keys(), clears, stamped, clearedRanges.flat()]) {
      for (const key of keys) {
        if (!isInside(key)) {
          const hex = bytesOf(key).toString('hex');
          this.#report(new Violation('no key outside the subspace is touched', hex));
        }
      }
    }
  }

  /** What lies under these keys before the commit. */
  async #stored(model: Watched, keys: readonly string[]): Promise<Map<string, StoredRecord>> {
    if (keys.length === 0) return new Map();
    return this.#database.transact(async (tx) => {
      const found = new Map<string, StoredRecord>();
      for (const key of keys) {
        const value = await tx.get(bytesOf(key));
        if (value !== undefined) found.set(key, await decode(tx, model, value));
      }
      return found;
    });
  }

  async #checkRecords(
    commit: SimCommit,
    model: Watched,
    was: Picture,
    is: Picture,
    before: ReadonlyMap<string, StoredRecord>,
  ): Promise<void> {
    const values = [...commit.sets].filter(([key]) => key.startsWith(model.recordPrefix));
    if (values.length === 0 && before.size === 0) return;
    const isMigrating = was.fence?.state === 'migrating';
    if (isMigrating) requireMigrator(commit, was, is, 'behind the gate only migrators write records');
    const sets = await this.#database.transact((tx) =>
      Promise.all(values.map(([, value]) => decode(tx, model, value))),
    );
    for (const [at, record] of sets.entries()) {
      const { id, label, hops, version } = record;
      if (hops !== hopsOf(version)) {
        throw new Violation(
          'a record is the transform of its old form, once',
          `${id} of ${version} was moved ${hops} times`,
        );
      }
      if (!isMigrating) {
        model.written.set(id, label);
        model.quarantined.delete(id);
        continue;
      }
      if (model.written.get(id) !== label) {
        throw new Violation('a migration changes no value that its transform keeps', `${id}: ${label}`);
      }
      // After a reset it may move to another key space as it is.
      const old = before.get(values[at]?.[0] ?? '');
      if (old?.id === id && old.version === version) {
        throw new Violation('a record is written once', `${id} of ${version} again`);
      }
      if (model.quarantined.has(id)) throw new Violation('what was set aside stays there', id);
    }
    const kept = new Set(sets.map(({ id }) => id));
    for (const [key, record] of before) {
      if (kept.has(record.id) || !commit.clears.has(key)) continue;
      if (!isMigrating) model.written.delete(record.id);
      else if (mayBeSetAside(record.id, record.label)) model.quarantined.add(record.id);
      else throw new Violation('a migration loses no record', record.id);
    }
  }
}

function recordsIn({ sets, clears }: SimCommit, { recordPrefix }: Watched): string[] {
  const found: string[] = [];
  for (const key of sets.keys()) if (key.startsWith(recordPrefix)) found.push(key);
  for (const key of clears) if (key.startsWith(recordPrefix)) found.push(key);
  return found;
}

async function decode(tx: Transaction, { forms }: Watched, value: Buffer): Promise<StoredRecord> {
  const { record, definition } = await forms.decode(tx, value);
  return {
    id: String(record['id']),
    label: String(record['label']),
    hops: Number(record['hops']),
    version: definition.version,
  };
}
