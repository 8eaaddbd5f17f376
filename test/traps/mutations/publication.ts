import type { Mutation } from '../patch.ts';
import { by, simulated } from '../patch.ts';

/** The end of a migration. */
export const publicationMutations: readonly Mutation[] = [
  {
    mutation: 'the ranges stay behind at the publication',
    killer: simulated(5),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '  clearRanges(tx, keys);\n  await addGarbage',
        replace: '  await addGarbage',
      },
    ],
  },
  {
    mutation: 'the intent stays behind at the publication',
    killer: by(
      'integration/next-migration.test.ts',
      'a migration leaves no intent and no mark behind, and the next one can be taken back like the first',
    ),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '[keys.state, keys.intent, keys.touched]',
        replace: '[keys.state, keys.touched]',
      },
    ],
  },
  {
    mutation: 'the mark of what was touched stays behind at the publication',
    killer: by(
      'integration/next-migration.test.ts',
      'a migration leaves no intent and no mark behind, and the next one can be taken back like the first',
    ),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '[keys.state, keys.intent, keys.touched]',
        replace: '[keys.state, keys.intent]',
      },
    ],
  },
  {
    mutation: 'a publication does not know itself again after 1021',
    killer: by(
      'integration/unknown-results.test.ts',
      'a migration of which every first commit is applied, with an unknown result goes as any other, by transform',
    ),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: 'if (isApplied && tx.afterUnknownResult)',
        replace: 'if (isApplied && !tx.afterUnknownResult)',
      },
    ],
  },
  {
    mutation: 'the key space is not switched at the publication',
    killer: by(
      'integration/migration-keys.test.ts',
      'a key definition that changes moves records to the next key space, and the old one is swept',
    ),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '      keySpace: state.targetKeySpace,\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'the epoch of the definitions stays the same at the publication',
    killer: by(
      'integration/rolling-versions.test.ts',
      'an incompatible publication is told to the program that it replaced as MODEL_SCHEMA_CHANGED, by every request',
    ),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '      ...fence,\n      schemaEpoch: fence.schemaEpoch + 1,\n      lineage',
        replace: '      ...fence,\n      lineage',
      },
    ],
  },
  {
    mutation: 'replaced indexes are not swept',
    killer: by(
      'integration/migration-index.test.ts',
      'entries of an index that is dropped or replaced are swept when a migration replaces it',
    ),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '  await addGarbage(tx, keys, leftBehind(held, definition));',
        replace: '  void [addGarbage, leftBehind(held, definition)];',
      },
    ],
  },
  {
    mutation: 'indexes that are kept are swept',
    killer: simulated(20),
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '      .filter(({ indexId }) => !kept.has(indexId))\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'the sweeper strikes off what is left of an item',
    killer: by(
      'integration/limits-requests.test.ts',
      'sweeping clears as many rows as it may in a transaction, and one more in another',
    ),
    replacements: [
      {
        file: 'src/records/garbage.ts',
        find: 'if (rows.length === rowsPerTransaction) return false;',
        replace: '',
      },
    ],
  },
];
