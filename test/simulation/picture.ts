import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import type { Approval } from '../../src/migration/approval.ts';
import type { Intent } from '../../src/migration/intent.ts';
import { readAnyIntent } from '../../src/migration/intent.ts';
import type { Owner } from '../../src/migration/owner.ts';
import { readOwner } from '../../src/migration/owner.ts';
import type { RangeRow } from '../../src/migration/passes/ledger.ts';
import { readRanges } from '../../src/migration/passes/ledger.ts';
import type { MigrationState } from '../../src/migration/state.ts';
import { readState } from '../../src/migration/state.ts';
import type { Fence } from '../../src/records/fence.ts';
import { readFence } from '../../src/records/fence.ts';
import type { ModelKeys, PassName } from '../../src/records/keys.ts';
import { passNames } from '../../src/records/keys.ts';
import type { SimCommit } from './sim-database.ts';

/** What the database says of a model at one moment. */
export interface Picture {
  readonly fence: Fence | undefined;
  readonly owner: Owner | undefined;
  readonly state: MigrationState | undefined;
  readonly intent: Intent | undefined;
  /** Whichever migration it is of. */
  readonly approval: Approval | undefined;
  readonly isTouched: boolean;
  readonly ranges: Readonly<Record<PassName, readonly RangeRow[]>>;
}

async function readRow(tx: Transaction, key: Uint8Array): Promise<Approval | undefined> {
  const bytes = await tx.get(key);
  return bytes === undefined ? undefined : (JSON.parse(bytes.toString()) as Approval);
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/**
 * Keeps the picture of one model. Commits come one after the other, and only what one of them wrote is read again: most
 * are heartbeats and requests, which change none of it.
 */
export class Pictures {
  readonly #database: KeyValueDatabase;
  readonly #keys: ModelKeys;
  readonly #names: Readonly<Record<'fence' | 'owner' | 'state' | 'intent' | 'approval' | 'touched', string>>;
  readonly #rangePrefixes: Readonly<Record<PassName, string>>;
  #current: Picture = {
    fence: undefined,
    owner: undefined,
    state: undefined,
    intent: undefined,
    approval: undefined,
    isTouched: false,
    ranges: { backfill: [], index: [], verify: [] },
  };

  constructor(database: KeyValueDatabase, keys: ModelKeys) {
    this.#database = database;
    this.#keys = keys;
    this.#names = {
      fence: latin1(keys.fence),
      owner: latin1(keys.owner),
      state: latin1(keys.state),
      intent: latin1(keys.intent),
      approval: latin1(keys.approval),
      touched: latin1(keys.touched),
    };
    this.#rangePrefixes = {
      backfill: latin1(keys.ranges('backfill')),
      index: latin1(keys.ranges('index')),
      verify: latin1(keys.ranges('verify')),
    };
  }

  get current(): Picture {
    return this.#current;
  }

  /** Whether anything of it is about to change. */
  isChangedBy({ sets, clears, clearedRanges }: SimCommit): boolean {
    const names = Object.values(this.#names);
    return (
      names.some((name) => sets.has(name) || clears.has(name)) ||
      passNames.some((pass) => this.#changesRanges(pass, sets, clearedRanges))
    );
  }

  /** After the commit was applied. */
  async update({ sets, clears, clearedRanges }: SimCommit): Promise<void> {
    const was = this.#current;
    const names = this.#names;
    const changes = (name: keyof typeof names) => sets.has(names[name]) || clears.has(names[name]);
    this.#current = await this.#database.transact(async (tx) => ({
      fence: changes('fence') ? await readFence(tx, this.#keys) : was.fence,
      owner: changes('owner') ? await readOwner(tx, this.#keys) : was.owner,
      state: changes('state') ? await readState(tx, this.#keys) : was.state,
      intent: changes('intent') ? await readAnyIntent(tx, this.#keys) : was.intent,
      approval: changes('approval') ? await readRow(tx, this.#keys.approval) : was.approval,
      isTouched: changes('touched') ? (await tx.get(this.#keys.touched)) !== undefined : was.isTouched,
      ranges: {
        backfill: await this.#ranges(tx, 'backfill', sets, clearedRanges),
        index: await this.#ranges(tx, 'index', sets, clearedRanges),
        verify: await this.#ranges(tx, 'verify', sets, clearedRanges),
      },
    }));
  }

  async #ranges(
    tx: Transaction,
    pass: PassName,
    sets: SimCommit['sets'],
    cleared: SimCommit['clearedRanges'],
  ): Promise<readonly RangeRow[]> {
    if (!this.#changesRanges(pass, sets, cleared)) return this.#current.ranges[pass];
    return readRanges(tx, this.#keys, pass);
  }

  #changesRanges(
    pass: PassName,
    sets: SimCommit['sets'],
    clearedRanges: SimCommit['clearedRanges'],
  ): boolean {
    const prefix = this.#rangePrefixes[pass];
    for (const key of sets.keys()) if (key.startsWith(prefix)) return true;
    return clearedRanges.some(([begin, end]) => begin <= `${prefix}\u00ff` && prefix < end);
  }
}
