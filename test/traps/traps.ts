import type { Replacement, Test } from './patch.ts';

/** A cure that is taken out of the code, and the test that must notice. */
export interface Trap extends Test {
  /** In the list of the design. */
  readonly number: number;
  /** What the code does without the cure. */
  readonly without: string;
  readonly replacements: readonly Replacement[];
}

const ownership = 'test/integration/traps-ownership.test.ts';
const data = 'test/integration/traps-data.test.ts';
const state = 'test/integration/traps-state.test.ts';
const fenceCache = 'test/integration/fence-cache.test.ts';
/** The same cures, between real processes on one directory. */
const processes = 'test/cluster/ownership.test.ts';
const atOnce =
  'several processes on one database has those that open at once move the records together, and all serve once one has published';
const rolledBack =
  'several processes on one database lets an older program write nothing once another process migrates, and serve nothing that is half-way';

/** Cures that are taken out twice: where several stores are in one process, and where each has its own. */
const noComparison: readonly Replacement[] = [
  {
    file: 'src/migration/acquire.ts',
    find: '  const plan = planModel(stored, migration.configured);\n',
    replace:
      '  const { migrationId, configured: target } = migration;\n' +
      "  const plan = { type: 'migrate', migrationId, reasons: [], indexes: [], target } as ModelPlan;\n",
  },
];
const oldVerdict: readonly Replacement[] = [
  {
    file: 'src/store/gate.ts',
    find: 'if (known?.fenceBytes.equals(fenceBytes) === true) {',
    replace: 'if (known !== undefined) {',
  },
];
const beatInGuard: readonly Replacement[] = [
  {
    file: 'src/migration/foundationdb-lease.ts',
    find: '      async guard(tx) {\n',
    replace: '      async guard(tx) {\n        await tx.get(keys.beat);\n',
  },
];
/** Of those too that help the owner: in a cluster any of them may be the one that moves. */
const beatInEachGuard: readonly Replacement[] = [
  ...beatInGuard,
  {
    file: 'src/migration/assist.ts',
    find: 'lease: leaseOf(ownerBytes, owner, keys.owner),\n',
    replace:
      'lease: ((lease) => ({\n' +
      '      ...lease,\n' +
      '      guard: async (tx) => {\n' +
      '        await tx.get(keys.beat);\n' +
      '        await lease.guard(tx);\n' +
      '      },\n' +
      '    }))(leaseOf(ownerBytes, owner, keys.owner)),\n',
  },
];
const fenceWithoutConflict: readonly Replacement[] = [
  {
    file: 'src/store/gate.ts',
    find: 'await tx.get(model.keys.fence);',
    replace: 'await tx.get(model.keys.fence, { snapshot: true });',
  },
];
const openWhileMigrating: readonly Replacement[] = [
  {
    file: 'src/store/gate.ts',
    find: "if (fence.state === 'migrating' || verdict.type === 'awaitsMigration') {",
    replace: "if (verdict.type === 'awaitsMigration') {",
  },
];
const everyOlderProgram: readonly Replacement[] = [
  {
    file: 'src/store/gate.ts',
    find: 'if (comparison.compatible) return serve();',
    replace: "if (comparison.type === 'OlderProgram') return serve();",
  },
];
const progressOfOwnerAlone: readonly Replacement[] = [
  {
    file: 'src/migration/read-status.ts',
    find: '    state === undefined\n      ? []\n',
    replace: '    migrations.get(model.id)?.held === undefined || state === undefined\n      ? []\n',
  },
];

export const traps: readonly Trap[] = [
  {
    number: 1,
    without: 'the state is cleared in another transaction than the definition is published',
    testFile: ownership,
    test: 'trap 1: no commit publishes a definition and leaves state or ranges, nor the other way round',
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: 'for (const key of [keys.state, keys.intent, keys.touched]) tx.clear(key);',
        replace: '',
      },
      {
        file: 'src/migration/publish-migration.ts',
        find: '  runtime.events.committed(model, events);\n  return',
        replace:
          '  await runtime.database.transact(async (tx) => {\n' +
          '    for (const key of [keys.state, keys.intent, keys.touched]) tx.clear(key);\n' +
          '  });\n' +
          '  runtime.events.committed(model, events);\n  return',
      },
    ],
  },
  {
    number: 1,
    without: 'the ranges are cleared in another transaction than the definition is published',
    testFile: ownership,
    test: 'trap 1: no commit publishes a definition and leaves state or ranges, nor the other way round',
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: '  clearRanges(tx, keys);\n  await addGarbage',
        replace: '  await addGarbage',
      },
      {
        file: 'src/migration/publish-migration.ts',
        find: '  runtime.events.committed(model, events);\n  return',
        replace:
          '  await runtime.database.transact(async (tx) => clearRanges(tx, keys));\n' +
          '  runtime.events.committed(model, events);\n  return',
      },
    ],
  },
  {
    number: 2,
    without: 'the acquiring transaction does not compare again',
    testFile: ownership,
    test: 'trap 2: a plan that another node carried out before the lease was acquired is not carried out again',
    replacements: noComparison,
  },
  {
    number: 2,
    without: 'a process that waited does not compare again',
    testFile: processes,
    test: atOnce,
    replacements: noComparison,
  },
  {
    number: 3,
    without: 'what the gate found behind one fence is used behind the next',
    testFile: ownership,
    test: 'trap 3: a node that waited serves as soon as another node has published',
    replacements: oldVerdict,
  },
  {
    number: 3,
    without: 'a process that waited uses what it found behind the fence before',
    testFile: processes,
    test: atOnce,
    replacements: oldVerdict,
  },
  {
    number: 4,
    without: 'the completion is told before it is committed',
    testFile: ownership,
    test: 'trap 4: whoever is told of the completion can use the model',
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: 'recordInTransaction(tx, migration, events, { completed: 1 });',
        replace:
          'recordInTransaction(tx, migration, events, { completed: 1 });\n' +
          '    runtime.events.committed(model, events);',
      },
    ],
  },
  {
    number: 5,
    without: 'models do not wait for others in the background',
    testFile: state,
    test: 'trap 5: what a model refers to is migrated before it in the background too',
    replacements: [
      {
        file: 'src/store/open.ts',
        find: "const all = plan.type === 'index' ?",
        replace: "const all = plan.type === 'index' || options.continueMigrationsInBackground ?",
      },
    ],
  },
  {
    number: 6,
    without: 'the state is told from the message',
    testFile: state,
    test: 'trap 6: texts of handlers and operators say nothing about the state',
    replacements: [
      {
        file: 'src/migration/read-status.ts',
        find: '  switch (state.status) {\n',
        replace: "  if (/cancel/i.test(state.message ?? '')) return 'Canceled';\n  switch (state.status) {\n",
      },
    ],
  },
  {
    number: 7,
    without: 'a start counts although the one before it moved on',
    testFile: state,
    test: 'trap 7: steps that move on are no failed attempts',
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'const attempt = madeProgress ? 1 : base.attempt + 1;',
        replace: 'const attempt = base.attempt + 1;',
      },
    ],
  },
  {
    number: 7,
    without: 'a limit of one retry grants none',
    testFile: state,
    test: 'trap 7: one retry is one retry, and one attempt is one attempt',
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'if (retryCount > maxRetryOutcomes) {',
        replace: 'if (retryCount >= maxRetryOutcomes) {',
      },
    ],
  },
  {
    number: 7,
    without: 'a limit of one attempt grants none',
    testFile: state,
    test: 'trap 7: one attempt is granted where one is allowed',
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'if (attempt > maxAttempts) {',
        replace: 'if (attempt >= maxAttempts) {',
      },
    ],
  },
  {
    number: 8,
    without: 'the lease is kept when something throws under it',
    testFile: ownership,
    test: 'trap 8: a lease is given back when a step fails before its handler is called',
    replacements: [
      {
        file: 'src/migration/effects.ts',
        find: "  await letGo(migration);\n  if (stop.aborted) return { type: 'stopped' };",
        replace: "  if (stop.aborted) return { type: 'stopped' };",
      },
    ],
  },
  {
    number: 8,
    without: 'a lease that was acquired for nothing is kept',
    testFile: ownership,
    test: 'trap 8: a lease of the application is given back when the plan turns out to be carried out',
    replacements: [
      {
        file: 'src/migration/acquire.ts',
        find: '    await lease.release();\n    throw error;',
        replace: '    throw error;',
      },
    ],
  },
  {
    number: 9,
    without: 'a chunk reads the heartbeat',
    testFile: ownership,
    test: 'trap 9: a heartbeat in the middle of a chunk costs the chunk nothing',
    replacements: beatInGuard,
  },
  {
    number: 9,
    without: 'a chunk reads the heartbeat, beside real ones',
    testFile: processes,
    test: atOnce,
    replacements: beatInEachGuard,
  },
  {
    number: 10,
    without: 'only the new program is refused while the model is migrated',
    testFile: data,
    test: 'trap 10: an older program writes nothing behind the cursor',
    replacements: [
      {
        file: 'src/store/gate.ts',
        find: "if (fence.state === 'migrating' || verdict.type === 'awaitsMigration') {",
        replace: "if (verdict.type === 'awaitsMigration') {",
      },
    ],
  },
  {
    number: 10,
    without: 'requests read the fence without a conflict',
    testFile: data,
    test: 'trap 10: a write of an older program that is in flight when the gate closes does not land',
    replacements: fenceWithoutConflict,
  },
  {
    number: 10,
    without: 'a fence from memory is no read conflict',
    testFile: fenceCache,
    test: 'a fence in memory lets no write through that is in flight when the gate closes: it conflicts, and is refused',
    replacements: [
      {
        file: 'src/store/gate.ts',
        find: '      tx.addReadConflictKey(model.keys.fence);\n',
        replace: '',
      },
    ],
  },
  {
    number: 10,
    without: 'a fence from memory is no read conflict',
    testFile: fenceCache,
    test: 'many writers in several stores land no write under a fence older than the one that stands',
    replacements: [
      {
        file: 'src/store/gate.ts',
        find: '      tx.addReadConflictKey(model.keys.fence);\n',
        replace: '',
      },
    ],
  },
  {
    number: 10,
    without: 'whoever writes a fence does not change the metadata version',
    testFile: fenceCache,
    test: 'a fence in memory lets no write through that begins when the gate is closed',
    replacements: [
      {
        file: 'src/records/store-row.ts',
        find: "if (row?.fenceCache === 'metadataVersion') changeMetadataVersion(tx);",
        replace: 'void row;',
      },
    ],
  },
  {
    number: 10,
    without: 'whoever writes a fence does not change the metadata version',
    testFile: fenceCache,
    test: 'many writers in several stores land no write under a fence older than the one that stands',
    replacements: [
      {
        file: 'src/records/store-row.ts',
        find: "if (row?.fenceCache === 'metadataVersion') changeMetadataVersion(tx);",
        replace: 'void row;',
      },
    ],
  },
  {
    number: 10,
    without: 'a program that reads its fences does not say when it writes one while another begins to cache',
    testFile: fenceCache,
    test: 'a store that reads its fences tells those who begin while it closes the gate: its transaction conflicts',
    replacements: [
      {
        file: 'src/records/store-row.ts',
        find: 'const bytes = await tx.get(keys.store);',
        replace: 'const bytes = await tx.get(keys.store, { snapshot: true });',
      },
    ],
  },
  {
    number: 10,
    without: 'requests read the fence without a conflict, beside another process',
    testFile: processes,
    test: rolledBack,
    replacements: fenceWithoutConflict,
  },
  {
    number: 11,
    without: 'the range row is written in a second transaction',
    testFile: data,
    test: 'trap 11: after each commit the ledger says how many records were moved',
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: '          writeRange(tx, keys, this.#pass.name, this.#range.number, next);\n',
        replace: '',
      },
      {
        file: 'src/migration/passes/mover.ts',
        find: "        if (result.type === 'intent') return result.intent;\n",
        replace:
          "        if (result.type === 'committed') {\n" +
          '          await this.#migration.runtime.database.transact(async (tx) =>\n' +
          '            writeRange(tx, this.#migration.model.keys, this.#pass.name, this.#range.number, result.row),\n' +
          '          );\n' +
          '        }\n' +
          "        if (result.type === 'intent') return result.intent;\n",
      },
    ],
  },
  {
    number: 11,
    without: 'a handler commits its cursor in a second transaction',
    testFile: data,
    test: 'trap 11: a handler that advances commits cursor and records together',
    replacements: [
      {
        file: 'src/migration/context.ts',
        find: '            writeState(tx, model.keys, step);\n',
        replace: '',
      },
      {
        file: 'src/migration/context.ts',
        find: '      if (advanced !== undefined) {\n',
        replace:
          '      if (advanced !== undefined) {\n' +
          '        const written: MigrationState = advanced;\n' +
          '        await runtime.database.transact(async (tx) => writeState(tx, model.keys, written));\n',
      },
    ],
  },
  {
    number: 12,
    without: 'all audit events are written again with each',
    testFile: state,
    test: 'trap 12: each audit event is a row of its own, and none is written again',
    replacements: [
      {
        file: 'src/migration/audit.ts',
        find: '  tx.setVersionstampedKey(key, keys.audit.length, auditFormat.encode({ ...event, message }));',
        replace:
          '  allEvents.push({ ...event, message });\n' +
          '  tx.set(key, Buffer.from(JSON.stringify(allEvents)));',
      },
      {
        file: 'src/migration/audit.ts',
        find: 'const versionstampBytes = 10;',
        replace: 'const versionstampBytes = 10;\nconst allEvents: MigrationAuditEvent[] = [];',
      },
    ],
  },
  {
    number: 12,
    without: 'what an audit reporter throws goes through',
    testFile: state,
    test: 'trap 12: an audit reporter that throws fails no migration',
    replacements: [
      {
        file: 'src/migration/events.ts',
        find: "          swallow('migrationAuditEventReporter threw', error, { logger: loggerFor(migrationOf(event)) });",
        replace: '          throw error;',
      },
    ],
  },
  {
    number: 13,
    without: 'a cursor of any size is persisted',
    testFile: state,
    test: 'trap 13: a cursor that is too large fails the step with a clear error',
    replacements: [
      {
        file: 'src/migration/state.ts',
        find: '  if (bytes > maxCursorBytes) {',
        replace: '  if (bytes > Number.MAX_SAFE_INTEGER) {',
      },
    ],
  },
  {
    number: 13,
    without: 'a message of any length is persisted',
    testFile: state,
    test: 'trap 13: a message that is too long is cut',
    replacements: [
      {
        file: 'src/migration/state.ts',
        find: 'const maxMessageLength = limits.migration.messageLength.value;',
        replace: 'const maxMessageLength = Number.MAX_SAFE_INTEGER;',
      },
    ],
  },
  {
    number: 14,
    without: 'the publication does not look at the intent',
    testFile: ownership,
    test: 'trap 14: a cancel that commits before the publication does has won, and everybody says so',
    replacements: [
      {
        file: 'src/migration/publish-migration.ts',
        find: 'readIntent(tx, keys, held.state.migrationId)',
        replace: 'Promise.resolve<Awaited<ReturnType<typeof readIntent>>>(undefined)',
      },
    ],
  },
  {
    number: 15,
    without: 'a migration half-way to another target is no obstacle',
    testFile: state,
    test: 'trap 15: another target is refused half-way, and a reset leads to it with nothing left behind',
    replacements: [
      {
        file: 'src/migration/plan.ts',
        find: 'if (fence.target !== null && target?.hash !== model.hash) {',
        replace: 'if (fence.target !== null && target === undefined) {',
      },
    ],
  },
  {
    number: 15,
    without: 'a reset keeps the ranges',
    testFile: state,
    test: 'trap 15: another target is refused half-way, and a reset leads to it with nothing left behind',
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '    clearRanges(tx, keys);\n    tx.clear(keys.state);',
        replace: '    tx.clear(keys.state);',
      },
      {
        file: 'src/migration/acquire.ts',
        find: '  clearRanges(tx, model.keys);\n',
        replace: '',
      },
    ],
  },
  {
    number: 15,
    without: 'another transform goes on where the first one stopped',
    testFile: state,
    test: 'trap 15: another transform to the same target is refused half-way',
    replacements: [
      {
        file: 'src/migration/hindrance.ts',
        find: "existing.kind !== 'migration') return undefined;",
        replace: "existing.kind !== 'index') return undefined;",
      },
    ],
  },
  {
    number: 16,
    without: 'a fence that is migrating stops nobody',
    testFile: data,
    test: 'trap 16: a program that was rolled back half-way serves nothing',
    replacements: openWhileMigrating,
  },
  {
    number: 16,
    without: 'every older program counts as compatible',
    testFile: data,
    test: 'trap 16: a program that was rolled back after the end serves nothing',
    replacements: everyOlderProgram,
  },
  {
    number: 16,
    without: 'a fence that another process closed stops nobody',
    testFile: processes,
    test: rolledBack,
    replacements: openWhileMigrating,
  },
  {
    number: 16,
    without: 'every older program counts as compatible, whoever has migrated',
    testFile: processes,
    test: rolledBack,
    replacements: everyOlderProgram,
  },
  {
    number: 17,
    without: 'only the process that moves records knows how many',
    testFile: state,
    test: 'trap 17: a store that does not move records tells the same progress as the one that does',
    replacements: progressOfOwnerAlone,
  },
  {
    number: 17,
    without: 'only the process that moves records knows how many, of several',
    testFile: processes,
    test: atOnce,
    replacements: progressOfOwnerAlone,
  },
  {
    number: 18,
    without: 'a full write drops the properties that the program does not know',
    testFile: data,
    test: 'trap 18: a full write of an older program keeps what it does not know',
    replacements: [
      {
        file: 'src/records/record-access.ts',
        find: 'const encoded = view.encode(kept, primaryKey, existing?.decoded.unknown);',
        replace: 'const encoded = view.encode(kept, primaryKey);',
      },
    ],
  },
  {
    number: 19,
    without: 'a context lives on after its step',
    testFile: data,
    test: 'trap 19: what a handler kept of its context writes nothing in a later step',
    replacements: [
      {
        file: 'src/migration/context.ts',
        find: '      ended = true;\n',
        replace: '      ended = false;\n',
      },
    ],
  },
  {
    number: 19,
    without: 'a step ends before what its handler began',
    testFile: data,
    test: 'trap 19: a write that was not awaited belongs to its step, or to none',
    replacements: [
      {
        file: 'src/migration/context.ts',
        find: '      while (pending.size > 0) await Promise.all(pending);\n',
        replace: '',
      },
    ],
  },
];
