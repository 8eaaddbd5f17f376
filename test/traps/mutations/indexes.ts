import type { Mutation } from '../patch.ts';
import { by, simulated } from '../patch.ts';

/** Index entries, and unique ones. */
export const indexMutations: readonly Mutation[] = [
  {
    mutation: 'a unique entry is written over another one by a request',
    killer: by(
      'integration/requests.test.ts',
      'unique indexes refuse a second owner of a value and write nothing',
    ),
    replacements: [
      {
        file: 'src/records/record-writer.ts',
        find: '  const owner = await tx.get(entry.key);\n  if (owner === undefined ||',
        replace:
          '  const owner: Buffer | undefined = await Promise.resolve(undefined);\n  if (owner === undefined ||',
      },
    ],
  },
  {
    mutation: 'a unique entry is read without a conflict before it is written',
    killer: by(
      'integration/requests.test.ts',
      'unique indexes let one of two win that add the same value at once',
    ),
    replacements: [
      {
        file: 'src/records/record-writer.ts',
        find: '  const owner = await tx.get(entry.key);\n  if (owner === undefined ||',
        replace: '  const owner = await tx.get(entry.key, { snapshot: true });\n  if (owner === undefined ||',
      },
    ],
  },
  {
    mutation: 'a unique entry is written over another one by a migration',
    killer: by(
      'integration/quarantine.test.ts',
      'by default so do two records with one value of a unique index, and both are named',
    ),
    replacements: [
      {
        file: 'src/migration/passes/transform-pass.ts',
        find: 'const before = seen.get(name) ?? (await tx.get(key));',
        replace: 'const before = seen.get(name);\n    void tx;',
      },
    ],
  },
  {
    mutation: 'an index pass reads the records without a conflict',
    killer: by(
      'integration/migration-index.test.ts',
      'an index added to a model with records is right although a record changes between the moment it is read and the commit of its entries',
    ),
    replacements: [
      {
        file: 'src/migration/passes/index-pass.ts',
        find: 'const whole = { limit:',
        replace: 'const whole = { snapshot: true, limit:',
      },
    ],
  },
  {
    mutation: 'an index that was added to a model with records is ready at once',
    killer: simulated(20),
    replacements: [
      {
        file: 'src/records/publish.ts',
        find: "state: isEmpty ? 'ready' : 'building' };",
        replace: "state: 'ready' };",
      },
    ],
  },
  {
    mutation: 'an index over a changed property keeps its id',
    killer: by(
      'integration/live-index-operators.test.ts',
      'an index whose property changed its type is built under a new id, with the migration',
    ),
    replacements: [
      { file: 'src/migration/close-gate.ts', find: ' && !refill.includes(name);', replace: ';' },
    ],
  },
  {
    mutation: 'a unique index is patched in place',
    killer: by(
      'integration/verify-unique.test.ts',
      'records may exchange their values of a unique index in a migration, which fills it anew',
    ),
    replacements: [
      {
        file: 'src/migration/close-gate.ts',
        find: "stored?.state === 'ready' && !unique && refill",
        replace: "(unique || !unique) && stored?.state === 'ready' && refill",
      },
    ],
  },
  {
    mutation: 'index ids are used again',
    killer: simulated(30),
    replacements: [
      {
        file: 'src/migration/close-gate.ts',
        find: "fence.nextIndexId + indexes.filter(({ mode }) => mode === 'fill').length,",
        replace: 'fence.nextIndexId,',
      },
    ],
  },
  {
    mutation: 'a migration after a reset trusts the index entries of the one before',
    killer: by(
      'integration/verify-report.test.ts',
      'the report of a verification is led out of by reset, which fills every index anew',
    ),
    replacements: [
      {
        file: 'src/migration/close-gate.ts',
        find: 'const keepsEntries = !movesKeys && fence.mixedSchemaIds.length === 0;',
        replace: 'const keepsEntries = !movesKeys;',
      },
    ],
  },
];
