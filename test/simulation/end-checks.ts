import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { readAuditEvents } from '../../src/migration/audit.ts';
import { readMetrics } from '../../src/migration/counters.ts';
import { readDefinition } from '../../src/records/definitions.ts';
import { readFence } from '../../src/records/fence.ts';
import type { StoreKeys } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { createRecordCodec } from '../../src/records/record-codec.ts';
import { resolveModels } from '../../src/model/resolve.ts';
import { readRecords, recomputeIndexes } from '../rig/recompute-index.ts';
import { checkAudit, checkCounters } from './audit-rules.ts';
import type { Invariants } from './invariants.ts';
import type { Program } from './programs.ts';
import { hopsOf, modelOf } from './programs.ts';

/** As many as the log keeps by default. */
const mostEvents = 1_000;

/** What has to be true once everything is over, by the database alone. */
export async function checkEnd(
  database: KeyValueDatabase,
  keys: StoreKeys,
  program: Program,
  modelIds: readonly number[],
  invariants: Invariants,
  fail: (what: string) => void,
): Promise<void> {
  const { referenceKeys } = resolveModels(program.dataModelsById);
  for (const modelId of modelIds) {
    const own = keys.model(modelId);
    const { fence, definition } = await database.transact(async (tx) => {
      const found = await readFence(tx, own);
      return { fence: found, definition: found && (await readDefinition(tx, own, found.schemaId)) };
    });
    if (fence === undefined || definition === undefined) {
      fail(`model ${modelId} is published at the end`);
      continue;
    }
    const wanted = modelOf(program, modelId);
    if (definition.version !== wanted.version) {
      fail(`model ${modelId} ends at ${definition.version}, not at ${wanted.version}`);
    }
    const codec = createRecordCodec(definition.data);
    const prefix = own.records(fence.keySpace);
    const rows = await readRecords(database, rangeOf(prefix));
    const found = new Map(
      rows.map(({ value }) => {
        const { record } = codec.decode(value);
        if (record['hops'] !== hopsOf(definition.version)) {
          fail(`every record is moved once: one of model ${modelId} has hops ${String(record['hops'])}`);
        }
        return [String(record['id']), String(record['label'])] as const;
      }),
    );
    const expected = invariants.expected(modelId);
    if (!isEqual(found, expected)) {
      fail(`model ${modelId} has the records that were written: ${found.size} of ${expected.size}`);
    }
    const [left] = invariants.setAside(modelId);
    if (left !== undefined) fail(`nothing is left in quarantine of model ${modelId}: ${left} is`);
    const { events, counted } = await database.transact(async (tx) => ({
      events: await readAuditEvents(tx, own, mostEvents),
      counted: await readMetrics(tx, own),
    }));
    for (const problem of [...checkAudit(events), ...checkCounters(events, counted)]) {
      fail(`the audit log of model ${modelId} is complete and in order: ${problem}`);
    }
    for (const { name, expected: demanded, actual } of await recomputeIndexes(database, own, referenceKeys)) {
      if (demanded.join() !== actual.join()) {
        fail(
          `index ${name} of model ${modelId} agrees with its records: ${actual.length} of ${demanded.length}`,
        );
      }
    }
  }
}

function isEqual(left: ReadonlyMap<string, string>, right: ReadonlyMap<string, string>): boolean {
  return left.size === right.size && [...left].every(([key, value]) => right.get(key) === value);
}
