import type { Transaction } from '../kv/kv.ts';
import type { ModelKeys } from './keys.ts';
import { createRowFormat, isCount, isListOf, isNullOr, isOneOf, isShape, isString } from './row.ts';
import { announceFence } from './store-row.ts';

/**
 * What every data transaction reads before anything else. It makes the gate true in the whole cluster: turning it
 * to `migrating` conflicts with each writer in flight, and each later one sees it.
 */
export interface Fence {
  /** Grows with every change that a cached view of the model must not survive. */
  readonly schemaEpoch: number;
  /** Grows with each incompatible publication. */
  readonly lineage: number;
  /** Where the records lie. */
  readonly keySpace: number;
  /** The published definition. */
  readonly schemaId: number;
  readonly state: 'ready' | 'migrating';
  /** What is being migrated to while `migrating`. */
  readonly target: FenceTarget | null;
  /** Schema ids that records may have been written under since the last publication, besides the published one. */
  readonly mixedSchemaIds: readonly number[];
  /** Key spaces that hold records besides the published one: what an ended migration with another key left. */
  readonly mixedKeySpaces: readonly number[];
  /** The next ids to give away: none is ever used again. */
  readonly nextSchemaId: number;
  readonly nextIndexId: number;
  readonly nextKeySpace: number;
}

export interface FenceTarget {
  readonly migrationId: string;
  readonly schemaId: number;
  readonly keySpace: number;
}

export const fenceFormat = createRowFormat<Fence>('fence', {
  schemaEpoch: isCount,
  lineage: isCount,
  keySpace: isCount,
  schemaId: isCount,
  state: isOneOf('ready', 'migrating'),
  target: isNullOr(isShape<FenceTarget>({ migrationId: isString, schemaId: isCount, keySpace: isCount })),
  mixedSchemaIds: isListOf(isCount),
  mixedKeySpaces: isListOf(isCount),
  nextSchemaId: isCount,
  nextIndexId: isCount,
  nextKeySpace: isCount,
});

export async function readFence(tx: Transaction, keys: ModelKeys): Promise<Fence | undefined> {
  return fenceFormat.parseOptional(await tx.get(keys.fence));
}

/** The only way in which a fence is written: whoever holds an older one in memory must come to know. */
export async function writeFence(tx: Transaction, keys: ModelKeys, fence: Fence): Promise<void> {
  tx.set(keys.fence, fenceFormat.encode(fence));
  await announceFence(tx, keys);
}
