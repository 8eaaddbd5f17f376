import type { KeyValueDatabase, KeyValueTransaction, Transaction } from '../../src/kv/kv.ts';
import { ownerFormat } from '../../src/migration/owner.ts';
import type { RangeRow } from '../../src/migration/passes/ledger.ts';
import type { ModelKeys } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { overriding, withTransactions } from '../rig/overriding.ts';

/**
 * What a commit of a migration says of itself, kept under a versionstamp in the same transaction: so the database knows
 * afterwards, in the order of the commits, which process made each, and under which ownership.
 */
export interface Testimony {
  readonly node: string;
  /** Of the ownership that this process took last; 0 before the first. */
  readonly epoch: number;
  /** `stepped`: ranges, state or fence changed, and no records. */
  readonly act: 'acquired' | 'released' | 'moved' | 'stepped';
  readonly records: number;
  /** Ranges that it wrote, of whichever pass. */
  readonly ranges: readonly WrittenRange[];
}

interface WrittenRange {
  readonly key: string;
  readonly seq: number;
  readonly claimSeq: number;
}

export interface TestifyOptions {
  readonly keys: ModelKeys;
  readonly testimony: Buffer;
  readonly node: string;
  /** Awaited before a commit that moves records is sent to the engine. */
  readonly beforeMove: (records: number) => Promise<void>;
  /** It was acknowledged, or failed. */
  readonly afterMove: (records: number) => void;
  /** An attempt to own what another process had owned and given back is over, with whatever it found. */
  readonly afterAttempt: () => void;
}

const versionstampBytes = 10;

/** The same database, but each commit of a migration leaves a testimony. */
export function testifying(
  database: KeyValueDatabase,
  { keys, testimony, node, beforeMove, afterMove, afterAttempt }: TestifyOptions,
): { readonly database: KeyValueDatabase; readonly isCommitting: () => boolean } {
  let epoch = 0;
  let committing = 0;
  const steps = [keys.ranges(), keys.state, keys.fence].map(textOf);
  const recordPrefix = textOf(keys.records(1));
  const rangePrefix = textOf(keys.ranges());
  const change = (tx: KeyValueTransaction): KeyValueTransaction => {
    const changed = new Set<string>();
    const ranges = new Map<string, WrittenRange>();
    let owner: Uint8Array | undefined;
    let isVacated = false;
    let isAttempt = false;
    const forget = () => {
      changed.clear();
      ranges.clear();
      owner = undefined;
      isVacated = isAttempt = false;
    };
    const over = () => {
      if (isAttempt) afterAttempt();
      isAttempt = false;
    };
    const describe = (): Testimony | undefined => {
      const said = act();
      return said === undefined ? undefined : { ...said, ranges: [...ranges.values()] };
    };
    const act = (): Omit<Testimony, 'ranges'> | undefined => {
      const records = [...changed].filter((key) => key.startsWith(recordPrefix)).length;
      if (owner !== undefined) {
        const row = ownerFormat.parse(Buffer.from(owner));
        return { node, epoch: row.epoch, act: row.token === '' ? 'released' : 'acquired', records };
      }
      if (records > 0) return { node, epoch, act: 'moved', records };
      const isStep = [...changed].some((key) => steps.some((prefix) => key.startsWith(prefix)));
      return isStep ? { node, epoch, act: 'stepped', records } : undefined;
    };
    const watched: Pick<KeyValueTransaction, 'get' | 'set' | 'clear' | 'commit' | 'onError' | 'cancel'> = {
      async get(key, options) {
        const value = await tx.get(key, options);
        if (keys.owner.equals(key)) isVacated = ownerFormat.parseOptional(value)?.token === '';
        // Nothing but the comparison reads both.
        if (keys.touched.equals(key)) isAttempt = isVacated;
        return value;
      },
      set(key, value) {
        changed.add(textOf(key));
        if (keys.owner.equals(key)) owner = value;
        const name = textOf(key);
        if (name.startsWith(rangePrefix)) {
          const { seq, claimSeq } = JSON.parse(Buffer.from(value).toString('utf8')) as RangeRow;
          ranges.set(name, { key: Buffer.from(key).toString('hex'), seq, claimSeq });
        }
        tx.set(key, value);
      },
      clear(key) {
        changed.add(textOf(key));
        tx.clear(key);
      },
      async commit() {
        const said = describe();
        const isMove = said?.act === 'moved';
        if (isMove) await beforeMove(said.records);
        committing += 1;
        try {
          if (said !== undefined) {
            const key = Buffer.concat([testimony, Buffer.alloc(versionstampBytes)]);
            tx.setVersionstampedKey(key, testimony.length, Buffer.from(JSON.stringify(said)));
          }
          await tx.commit();
        } finally {
          // Also where it was held for so long that it has timed out.
          committing -= 1;
          if (isMove) afterMove(said.records);
        }
        if (said?.act === 'acquired') epoch = said.epoch;
        over();
      },
      async onError(error) {
        forget();
        await tx.onError(error);
      },
      cancel() {
        tx.cancel();
        over();
      },
    };
    return overriding(tx, watched);
  };
  return { database: withTransactions(database, change), isCommitting: () => committing > 0 };
}

/** In the order of the commits. */
export async function readTestimonies(tx: Transaction, testimony: Buffer): Promise<readonly Testimony[]> {
  const { begin, end } = rangeOf(testimony);
  const rows = await tx.getRangeAll(begin, end);
  return rows.map(({ value }) => JSON.parse(value.toString('utf8')) as Testimony);
}

/**
 * Commits that nobody should have made: steps under another epoch than that of the owner at the time, or under none;
 * ownerships that do not grow; and records moved while nobody owned the migration, or in a range that another process had
 * claimed by then. Empty where there was one owner at a time, and one mover of each range.
 */
export function misdeeds(testimonies: readonly Testimony[]): readonly string[] {
  const found: string[] = [];
  let owner: Pick<Testimony, 'node' | 'epoch'> | undefined;
  let lastEpoch = 0;
  /** By range: its claim, and whose it is. */
  const claims = new Map<string, { readonly claimSeq: number; readonly node: string }>();
  testimonies.forEach((said, at) => {
    const text = `${at}: ${said.node} ${said.act} under ${said.epoch}`;
    const isPlan = said.ranges.some(({ seq, claimSeq }) => seq === 0 && claimSeq === 0);
    if (isPlan) claims.clear();
    for (const { key, claimSeq } of isPlan ? [] : said.ranges) {
      const known = claims.get(key);
      const isNew = known === undefined || claimSeq > known.claimSeq;
      if (isNew) claims.set(key, { claimSeq, node: said.node });
      else if (said.act === 'moved' && (known.claimSeq !== claimSeq || known.node !== said.node)) {
        found.push(`${text} by claim ${claimSeq}, where ${known.node} had claim ${known.claimSeq}`);
      }
    }
    if (said.act === 'acquired') {
      if (said.epoch <= lastEpoch) found.push(`${text} after epoch ${lastEpoch}`);
      owner = said;
      lastEpoch = said.epoch;
      return;
    }
    const isClaim = said.ranges.length > 0;
    if (said.act === 'moved' || (said.act === 'stepped' && isClaim)) {
      if (owner === undefined) found.push(`${text} while nobody owned it`);
      return;
    }
    if (owner?.node !== said.node || owner.epoch !== said.epoch) {
      found.push(
        `${text} while ${owner === undefined ? 'nobody' : `${owner.node} (${owner.epoch})`} owned it`,
      );
    }
    if (said.act === 'released') owner = undefined;
  });
  return found;
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
