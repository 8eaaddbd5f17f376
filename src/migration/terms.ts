import { createHash } from 'node:crypto';
import { transformHash } from './backfill-spec.ts';
import { isBackfill } from './handlers.ts';
import type { ModelMigration } from './runtime.ts';
import { checkOf } from './verification.ts';

/**
 * How this program moves and verifies the records of a model, as a hash: who helps another has to do it in the same way.
 * Functions are compared by their text.
 */
export function termsOf({ runtime, model, handlers }: ModelMigration): string {
  const { verification } = runtime;
  const spec = handlers.backfill;
  const terms = [
    isBackfill(spec) ? [transformHash(spec), spec.onPoison, spec.maxQuarantined] : 'by hand',
    verification === 'off'
      ? verification
      : [verification.sampleRatio, verification.seed, checkOf(verification, model.name)?.toString() ?? null],
  ];
  return createHash('sha256').update(JSON.stringify(terms)).digest('hex').slice(0, 16);
}
