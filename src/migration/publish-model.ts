import type { Transaction } from '../kv/kv.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { publishChange, publishNew } from '../records/publish.ts';
import { planModel, readStoredModel } from './plan.ts';

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
    publishNew(tx, target);
    return true;
  }
  const refill = comparison.type === 'NewIndexesOnExistingProperties' ? comparison.indexes : [];
  await publishChange(tx, target, stored, refill);
  return true;
}
