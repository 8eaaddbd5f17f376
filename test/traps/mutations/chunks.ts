import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

/** What a chunk reads, writes and counts. */
export const chunkMutations: readonly Mutation[] = [
  {
    mutation: 'a chunk does not compare the sequence number of its range',
    killer: by(
      'integration/unknown-results.test.ts',
      'a migration of which every first commit is applied, with an unknown result goes as any other, by transform',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: 'if (isMyTurn && current.seq === row.seq + 1) {',
        replace: 'if (isMyTurn && current.seq === row.seq + 2) {',
      },
      {
        file: 'src/migration/passes/mover.ts',
        find: 'if (!isMine || current.seq !== row.seq || !isSameFence)',
        replace: 'if (!isMine || !isSameFence)',
      },
    ],
  },
  {
    mutation: 'a chunk does not know itself again after 1021',
    killer: by(
      'integration/unknown-results.test.ts',
      'a migration of which every first commit is applied, with an unknown result goes as any other, by transform',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: 'if (isMyTurn && current.seq === row.seq + 1) {',
        replace: 'if (isMyTurn && current.seq === row.seq + 2) {',
      },
    ],
  },
  {
    mutation: 'a chunk reads its range without a conflict',
    killer: by(
      'integration/ownership.test.ts',
      'a chunk in flight does not commit over a claim that another mover has taken',
    ),
    replacements: [
      {
        file: 'src/migration/passes/ledger.ts',
        find: 'rangeFormat.parseOptional(await tx.get(keys.range(pass, number)))',
        replace: 'rangeFormat.parseOptional(await tx.get(keys.range(pass, number), { snapshot: true }))',
      },
    ],
  },
  {
    mutation: 'a chunk does not look at the intent',
    killer: by(
      'integration/operators-intent.test.ts',
      'in Backfill a pause from another store is answered with the wish, obeyed at the boundary, and undone by resume',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: "            if (isStopping(intent)) return { type: 'intent', intent };\n            if (isBeyond",
        replace: '            if (isBeyond',
      },
    ],
  },
  {
    mutation: 'the intent is read without a conflict',
    killer: by(
      'integration/traps-ownership.test.ts',
      'trap 14: a cancel that commits before the publication does has won, and everybody says so',
    ),
    replacements: [
      {
        file: 'src/migration/intent.ts',
        find: 'const intent = intentFormat.parseOptional(await tx.get(keys.intent));',
        replace: 'const intent = intentFormat.parseOptional(await tx.get(keys.intent, { snapshot: true }));',
      },
    ],
  },
  {
    mutation: 'a chunk does not mark the migration as touched',
    killer: by(
      'integration/operators-intent.test.ts',
      'a way back while nothing was written not once a record was written, and the error then names the ways out',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: 'if (this.#pass.touches && chunk.records > 0) {',
        replace: 'if (this.#pass.touches && chunk.records < 0) {',
      },
    ],
  },
  {
    mutation: 'the next chunk begins at the last record of this one',
    killer: by(
      'integration/store-close.test.ts',
      'close commits the chunk under way, releases the lease, and the next process goes on behind it',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: 'behindRecord(bytesOf(cursor))',
        replace: 'bytesOf(cursor)',
      },
    ],
  },
  {
    mutation: 'a range that has begun tells that it is done',
    killer: by(
      'integration/store-status.test.ts',
      'progress an ETA comes from what was timed, and there is none while it is paused',
    ),
    replacements: [
      {
        file: 'src/migration/passes/chunk.ts',
        find: 'share: done ? 1 : Math.max',
        replace: 'share: !done ? 1 : Math.max',
      },
    ],
  },
  {
    mutation: 'a retried chunk is counted in the cluster twice',
    killer: by(
      'integration/store-audit.test.ts',
      'migrationMetrics counts exactly, over several processes, and outlasts them',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: 'count(tx, keys, runtime.clock.wallMs(), counts);',
        replace:
          'count(tx, keys, runtime.clock.wallMs(), counts);\n          count(tx, keys, runtime.clock.wallMs(), counts);',
      },
    ],
  },
  {
    mutation: 'records of the target are transformed again',
    killer: by(
      'integration/reset.test.ts',
      'of a migration that has written records records that are of the target already are not transformed again',
    ),
    replacements: [
      {
        file: 'src/records/chunk-transform.ts',
        find: 'if (schemaId === setup.target.schemaId) {',
        replace: 'if (schemaId === setup.target.schemaId && stored.size === 0) {',
      },
      {
        file: 'src/records/chunk-transform.ts',
        find: '    const form = stored.get(schemaId);',
        replace:
          '    const form = stored.get(schemaId) ?? (schemaId === setup.target.schemaId ? [...stored.values()].at(-1) : undefined);',
      },
    ],
  },
  {
    mutation: 'a record that is dropped leaves its index entries',
    killer: by('unit/records/chunk-transform.test.ts', 'a chunk clears a dropped record and its entries'),
    replacements: [
      {
        file: 'src/records/chunk-transform.ts',
        find: '      this.#clearStored(step);\n      this.#counts.dropped += 1;',
        replace: '      this.#clearRows(step, 0);\n      this.#counts.dropped += 1;',
      },
    ],
  },
  {
    mutation: 'a record in quarantine leaves its index entries',
    killer: by(
      'unit/records/chunk-transform.test.ts',
      'a record that does not go through steps aside into quarantine with its bytes, and its entries are cleared',
    ),
    replacements: [
      {
        file: 'src/records/chunk-transform.ts',
        find: '    this.#clearStored(step);\n    this.#counts.quarantined += 1;',
        replace: '    this.#clearRows(step, 0);\n    this.#counts.quarantined += 1;',
      },
    ],
  },
  {
    mutation: 'a record in quarantine is not counted',
    killer: by(
      'integration/quarantine.test.ts',
      'with onPoison: quarantine sets exactly those records aside, says why, and the counts agree',
    ),
    replacements: [
      { file: 'src/records/chunk-transform.ts', find: '    this.#counts.quarantined += 1;\n', replace: '' },
    ],
  },
  {
    mutation: 'the old row stays where a key changes',
    killer: by(
      'unit/records/chunk-transform.test.ts',
      'a changed key moves the record to the new key space, and its entries lead to the new key',
    ),
    replacements: [
      {
        file: 'src/records/chunk-transform.ts',
        find: '      this.#clearRows(step, 0);\n      writer.setIfAbsent',
        replace: '      writer.setIfAbsent',
      },
    ],
  },
  {
    mutation: 'a transform may change the key',
    killer: by(
      'integration/migration-keys.test.ts',
      'a transform that returns another key fails where the key definition is unchanged, and the model serves as before',
    ),
    replacements: [
      {
        file: 'src/records/chunk-transform.ts',
        find: 'else if (!key.equals(step.key)) {',
        replace: 'else if (key.length === 0) {',
      },
    ],
  },
  {
    mutation: 'a record is put back from quarantine again after 1021',
    killer: by(
      'integration/unknown-results.test.ts',
      'an operator’s call that is applied, with an unknown result, puts a record in quarantine back once',
    ),
    replacements: [
      {
        file: 'src/migration/quarantine.ts',
        find: '      if (present === undefined) return;\n      if (moved',
        replace: '      if (moved',
      },
      {
        file: 'src/migration/quarantine.ts',
        find: 'partCountOf(present)',
        replace: 'present === undefined ? 1 : partCountOf(present)',
      },
    ],
  },
  {
    mutation: 'more records are set aside than may be',
    killer: by(
      'integration/review-passes.test.ts',
      'a migration with too many records in quarantine fails, although whoever set them aside died before it looked',
    ),
    replacements: [
      {
        file: 'src/migration/passes/transform-pass.ts',
        find: 'if (quarantined <= spec.maxQuarantined) return;',
        replace: 'if (quarantined <= spec.maxQuarantined + 1) return;',
      },
    ],
  },
  {
    mutation: 'what was read ahead of a chunk that was given up, and had been applied, is written',
    killer: by(
      'integration/unknown-results.test.ts',
      'a chunk that is applied, and is said to have timed out, leaves no record behind where what it has moved is gone from its place',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: '        if (result.row.cursor !== cursorBehind(row, chunk)) await dropAhead();\n',
        replace: '',
      },
      // Two stand guard: this one would keep it from being lost.
      {
        file: 'src/migration/step.ts',
        find: "    if (end.type === 'done') await refuseLeftBehind(migration, state);\n",
        replace: '',
      },
    ],
  },
  {
    mutation: 'a backfill ends whatever is left in an old key space',
    killer: by(
      'integration/unknown-results.test.ts',
      'a record that lies in its old key space behind the backfill is not swept, but keeps it from ending',
    ),
    replacements: [
      {
        file: 'src/migration/step.ts',
        find: "    if (end.type === 'done') await refuseLeftBehind(migration, state);\n",
        replace: '',
      },
    ],
  },
];
