import type { Mutation } from '../patch.ts';
import { by, simulated } from '../patch.ts';

/** The gate, its fence, and programs of other versions. */
export const gateMutations: readonly Mutation[] = [
  {
    mutation: 'the gate is not closed',
    killer: by(
      'integration/traps-data.test.ts',
      'trap 10: an older program writes nothing behind the cursor',
    ),
    replacements: [
      {
        file: 'src/migration/close-gate.ts',
        find: "    state: 'migrating',",
        replace: "    state: 'ready',",
      },
    ],
  },
  {
    mutation: 'the gate is closed in a transaction after the acquiring one',
    killer: by(
      'integration/migration-phases.test.ts',
      'the phases of a migration end with one transaction: whoever looks finds the state gone exactly when the gate is open',
    ),
    replacements: [
      {
        file: 'src/migration/close-gate.ts',
        find: '  await writeFence(tx, model.keys, closed);\n',
        replace: '  void writeFence;\n',
      },
      {
        file: 'src/migration/acquire.ts',
        find: '  const held: HeldMigration = {',
        replace:
          "  if (stored.fence.state === 'migrating') {\n    const { writeFence } = await import('../records/fence.ts');\n    await runtime.database.transact((tx) => writeFence(tx, model.keys, stored.fence));\n  }\n  const held: HeldMigration = {",
      },
    ],
  },
  {
    mutation: 'what is paused, canceled or failed is acquired',
    killer: simulated(40),
    replacements: [
      {
        file: 'src/migration/acquire.ts',
        find: "if (halt !== undefined) return { type: 'halted', as: halt };",
        replace: 'void halt;',
      },
    ],
  },
  {
    mutation: 'the lineage stays the same through a migration',
    killer: by(
      'integration/older-programs.test.ts',
      'an incompatible older program of an earlier published version opens, writes nothing and is refused',
    ),
    replacements: [
      {
        file: 'src/migration/close-gate.ts',
        find: 'lineage: current.lineage + 1,',
        replace: 'lineage: current.lineage,',
      },
    ],
  },
  {
    mutation: 'the epoch of the definitions stays the same when the gate closes',
    killer: by(
      'integration/fence-cache.test.ts',
      'many writers in several stores land no write under a fence older than the one that stands',
    ),
    replacements: [
      { file: 'src/migration/close-gate.ts', find: '    schemaEpoch: fence.schemaEpoch + 1,\n', replace: '' },
    ],
  },
  {
    mutation: 'mixed records are taken by whatever transform there is',
    killer: by(
      'integration/reset.test.ts',
      'of a migration that has written records a process that has waited since before it is refused mixed records that it does not accept',
    ),
    replacements: [
      {
        file: 'src/migration/acquire.ts',
        find: '  refuseMixedRecords(migration, stored);\n',
        replace: '  void refuseMixedRecords;\n',
      },
    ],
  },
  {
    mutation: 'the ids of records of a given-up target are forgotten',
    killer: by(
      'integration/reset.test.ts',
      'of a migration that has written records another definition has to accept the mixed records, before anything is written',
    ),
    replacements: [
      {
        file: 'src/migration/close-gate.ts',
        find: 'mixedSchemaIds: [...new Set([...fence.mixedSchemaIds, schemaId])],',
        replace: 'mixedSchemaIds: [],',
      },
    ],
  },
  {
    mutation: 'an older program migrates backwards',
    killer: by(
      'integration/older-programs.test.ts',
      'a compatible older program opens, and publishes, migrates and drops nothing',
    ),
    replacements: [
      { file: 'src/model/compare.ts', find: 'if (same.length > 0) {', replace: 'if (same.length > 99) {' },
      {
        file: 'src/model/compare.ts',
        find: 'if (compareVersions(configured.data.version, current.version) < 0) {',
        replace: 'if (compareVersions(configured.data.version, current.version) < -99) {',
      },
    ],
  },
  {
    mutation: 'an older program drops the index that a newer one added',
    killer: by(
      'integration/older-programs.test.ts',
      'a compatible older program serves, and keeps the indexes and the properties that it does not know',
    ),
    replacements: [
      {
        file: 'src/model/compare.ts',
        find: 'if (same.length > 0) {',
        replace: 'if (same.length > 0 && !same.some(({ lineage }) => lineage === current.lineage)) {',
      },
      {
        file: 'src/model/compare.ts',
        find: 'if (compareVersions(configured.data.version, current.version) < 0) {',
        replace: 'if (compareVersions(configured.data.version, current.version) < 0 && same.length === 0) {',
      },
    ],
  },
  {
    mutation: 'a program goes its own way past a step that stands still',
    killer: by(
      'integration/version-chains.test.ts',
      'a chain of versions stands still where a step that another program began fails before anything was written',
    ),
    replacements: [
      {
        file: 'src/migration/plan.ts',
        find: 'begunSchemaId: fence.target?.schemaId ?? state?.targetSchemaId };',
        replace: 'begunSchemaId: fence.target?.schemaId };',
      },
    ],
  },
  {
    mutation: 'a model does not wait for those it refers to',
    killer: by('unit/machines/node.test.ts', 'a node begins a model only when all it depends on is done'),
    replacements: [
      {
        file: 'machines/node.ts',
        find: "dependsOn.every((dependency) => context.standing[dependency] === 'done'),",
        replace: 'dependsOn.length >= 0,',
      },
    ],
  },
  {
    mutation: 'what waits for a model that stands still is waited for at the start',
    killer: by(
      'unit/machines/node.test.ts',
      'a node goes on with what an operator resumes, and then with what waited for it',
    ),
    replacements: [
      {
        file: 'machines/node.ts',
        find: "(dependency) => context.standing[dependency] !== 'done' && isSettled(context, dependency),",
        replace: "(dependency) => context.standing[dependency] === 'failed' && context.models.length === 0,",
      },
    ],
  },
  {
    mutation: 'a lost lease stops the migration here',
    killer: by(
      'unit/machines/migration.test.ts',
      'a step of Backfill that lost its lease is followed by acquiring it again, and goes on where the database stands',
    ),
    replacements: [
      {
        file: 'machines/migration.ts',
        find: "const leaseLost = { guard: isType('leaseLost'), target: 'acquiringLease' } as const;",
        replace: "const leaseLost = { guard: isType('leaseLost'), target: 'stopped' } as const;",
      },
    ],
  },
];
