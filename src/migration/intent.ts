import type { Transaction } from '../kv/kv.ts';
import type { ModelKeys } from '../records/keys.ts';
import { createRowFormat, isCount, isOneOf, isString } from '../records/row.ts';
import { cutMessage } from './state.ts';

/**
 * What the operator wants of one migration. Every chunk reads it in its own transaction, so it takes effect at the
 * next chunk wherever the mover is, survives restarts and takeovers, and needs no bus. Ignored for any other migration.
 */
export interface Intent {
  readonly migrationId: string;
  /** Of the call that wrote it: how a call knows itself after an unknown result. */
  readonly id: string;
  readonly want: 'run' | 'pause' | 'cancel';
  readonly by: string;
  readonly reason: string;
  /** One more with every write. */
  readonly revision: number;
  readonly atMs: number;
}

const intentFormat = createRowFormat<Intent>('intent', {
  migrationId: isString,
  id: isString,
  want: isOneOf('run', 'pause', 'cancel'),
  by: isString,
  reason: isString,
  revision: isCount,
  atMs: isCount,
});

/** Whether the operator wants the migration to stand still. */
export function isStopping(intent: Intent | undefined): intent is Intent {
  return intent !== undefined && intent.want !== 'run';
}

/** The intent for this migration, if there is one. */
export async function readIntent(
  tx: Transaction,
  keys: ModelKeys,
  migrationId: string,
): Promise<Intent | undefined> {
  const intent = intentFormat.parseOptional(await tx.get(keys.intent));
  return intent?.migrationId === migrationId ? intent : undefined;
}

/** Whatever intent is there, for which migration ever. */
export async function readAnyIntent(tx: Transaction, keys: ModelKeys): Promise<Intent | undefined> {
  return intentFormat.parseOptional(await tx.get(keys.intent));
}

/** Texts are cut: an operator who says much is obeyed all the same. */
export function writeIntent(tx: Transaction, keys: ModelKeys, intent: Intent): Intent {
  const written = { ...intent, by: cutMessage(intent.by), reason: cutMessage(intent.reason) };
  tx.set(keys.intent, intentFormat.encode(written));
  return written;
}
