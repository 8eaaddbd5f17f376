import type { Transaction } from '../kv/kv.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { publishChange, publishNew } from '../records/publish.ts';
import { readAnyIntent, writeIntent } from './intent.ts';
import { clearRanges } from './passes/ledger.ts';
import { leadingFrom, leadsTo, planModel, readStoredModel } from './plan.ts';
import { readState, writeState } from './state.ts';

/**
 * Publishes the configured definition if that is all it takes: compared in the same transaction, so that of several
 * programs each sees what the others did. Answers whether it published.
 */
export async function publishIfCompatible(tx: Transaction, model: ConfiguredModel): Promise<boolean> {
  const stored = await readStoredModel(tx, model.keys);
  const plan = planModel(stored, model);
  if (plan.type !== 'publish') return false;
  const { comparison, target } = plan;
  if (stored === undefined) {
    await publishNew(tx, target);
    return true;
  }
  const refill = comparison.type === 'NewIndexesOnExistingProperties' ? comparison.indexes : [];
  await publishChange(tx, target, stored, refill);
  await carryOver(tx, target, stored.current.version);
  return true;
}

/**
 * What is left from the definition that this one replaces, with the gate open. The build of an index is another one from
 * now on, and nobody could end that one any more. Of a migration that has not closed the gate, an operator's word is all
 * there is: it holds, although the way leads from another version now.
 */
async function carryOver(
  tx: Transaction,
  { keys, data, hash }: ConfiguredModel,
  from: string,
): Promise<void> {
  const [state, intent] = await Promise.all([readState(tx, keys), readAnyIntent(tx, keys)]);
  const rename = (migrationId: string) => leadingFrom(migrationId, from, data.version);
  const isOver = state === undefined || state.kind === 'index' || leadsTo(state.migrationId, hash);
  if (isOver) {
    tx.clear(keys.state);
    tx.clear(keys.intent);
    clearRanges(tx, keys);
    return;
  }
  writeState(tx, keys, { ...state, migrationId: rename(state.migrationId), revision: state.revision + 1 });
  if (intent !== undefined) writeIntent(tx, keys, { ...intent, migrationId: rename(intent.migrationId) });
}
