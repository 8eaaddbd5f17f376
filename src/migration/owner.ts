import type { Transaction } from '../kv/kv.ts';
import type { ProcessIdentity } from '../ports/process.ts';
import type { ModelKeys } from '../records/keys.ts';
import { createRowFormat, isCount, isNumber, isString } from '../records/row.ts';

/** Who may migrate a model now. Changes only when ownership does, so every owner transaction can read it. */
export interface Owner extends ProcessIdentity {
  /** The fencing number: only ever grows. */
  readonly epoch: number;
  /** Random for each attempt to acquire; empty when nobody owns the model. */
  readonly token: string;
  /** One per open store. */
  readonly session: string;
  readonly ttlMs: number;
  readonly nodeId: string;
  readonly migrationId: string;
  /** Wall clock, for people. */
  readonly sinceMs: number;
}

/** Changes with each heartbeat. Read by contenders only. */
export interface Beat {
  readonly epoch: number;
  readonly n: number;
  /** Wall clock, for people. */
  readonly atMs: number;
}

export const ownerFormat = createRowFormat<Owner>('owner', {
  epoch: isCount,
  token: isString,
  session: isString,
  ttlMs: isNumber,
  nodeId: isString,
  migrationId: isString,
  sinceMs: isNumber,
  host: isString,
  pid: isCount,
  bootId: isString,
  pidNamespace: isString,
  startTime: isString,
});

export const beatFormat = createRowFormat<Beat>('beat', { epoch: isCount, n: isCount, atMs: isNumber });

export async function readOwner(tx: Transaction, keys: ModelKeys): Promise<Owner | undefined> {
  return ownerFormat.parseOptional(await tx.get(keys.owner));
}

/** The owner row of a model that nobody owns: it keeps the epoch. */
export function vacated(owner: Owner, epoch = owner.epoch): Owner {
  return { ...owner, epoch, token: '', session: '' };
}
