import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { limits } from '../../src/limits.ts';
import type { Limit } from '../../src/limits.ts';
import { tableRows } from '../rig/readme.ts';

const read = (path: string) => readFileSync(join(repositoryTop, path), 'utf8');

const all: readonly (readonly [name: string, limit: Limit])[] = Object.entries(limits).flatMap(
  ([group, ofGroup]) =>
    Object.entries<Limit>(ofGroup).map(([name, limit]) => [`${group}.${name}`, limit] as const),
);

/** A test: its file below `test`, and its title. */
type Shown = readonly [file: string, title: string];

const database = 'integration/limits-database.test.ts';
const requests = 'integration/limits-requests.test.ts';
const migration = 'integration/limits-migration.test.ts';
const engine = 'unit/limits/engine.test.ts';
const model = 'unit/limits/model.test.ts';
const runtime = 'unit/limits/migration.test.ts';
const duplicates = 'unit/limits/duplicates.test.ts';
const verification = 'unit/limits/verification.test.ts';
const cluster = 'unit/limits/cluster.test.ts';
const control = 'unit/limits/control.test.ts';
const planned = 'unit/limits/plan.test.ts';

const sizes: Shown = [database, 'takes a key and a value of the full size, and refuses a byte more'];
const nextChunk: Shown = [
  runtime,
  'is as large as the last one that had all the %s it may, and smaller behind one that had more',
];
const gentleChunk: Shown = [runtime, 'is as large as one that has all the %s it may, and never larger'];

const cutFindings: Shown = [
  verification,
  'have keys and problems as long as they may be, and one more is cut',
];

/** For each limit the test at it and one past it: one that shows both, or one for each. */
const shownBy: Readonly<Record<string, readonly [at: Shown, past?: Shown]>> = {
  'database.keyBytes': [sizes],
  'database.valueBytes': [sizes],
  'database.transactionBytes': [
    [database, 'commits a transaction of the full size, and refuses a byte more'],
  ],
  'database.transactionMs': [
    [database, 'reads in a transaction of the full age, and not a millisecond later'],
  ],
  'database.watches': [
    [database, 'as many watches as FoundationDB grants are armed, and one more is refused'],
  ],
  'database.driverWatches': [
    ['unit/kv/foundationdb-watches.test.ts', 'the clock wakes those for whom there is no room'],
  ],
  'database.retryDelayMs': [[engine, 'grows up to its bound and no further']],

  'engine.snapshots': [[database, 'are as many as that, and one more is told to try again']],
  'engine.readers': [
    [database, 'a directory has as many readers as that, and one more is told to try again'],
  ],
  'engine.batchCommits': [[engine, 'takes as many commits as it may, and leaves one more for the next']],
  'engine.batchBytes': [[engine, 'takes the commit that fills its bytes, and leaves one more for the next']],
  'engine.logMs': [[engine, 'keeps an entry for as long as somebody may need it, and not longer']],
  'engine.prunedEntries': [[engine, 'of %d old entries leaves %d for the next commit']],
  'engine.iteratorPairs': [[database, 'has all of %d pairs once, in order, whichever way']],

  'model.nameLength': [[model, 'has as many characters as it may, and one more is refused']],
  'model.decimalDigits': [[model, 'has as many digits as it may, and one more is refused']],
  'model.recordDepth': [[model, 'has as many levels as it may, and one more is refused']],
  'model.keyDepth': [[model, 'has references as deep as they may be, and one level more is refused']],
  'model.violations': [[model, 'are looked for up to their bound, and one more is not']],
  'model.listedViolations': [[model, 'are listed up to their bound, and one more is counted']],

  'records.recordBytes': [
    ['unit/records/record-codec.test.ts', 'is refused above the limit, naming model and sizes'],
  ],
  'records.partBytes': [[requests, 'lies in one row up to the size of a part, and in two with a byte more']],
  'records.pageBytes': [
    [requests, 'ends with the record that fills its bytes; with a byte less, one more comes with it'],
  ],
  'records.pageRecords': [[requests, 'has as many records as it may, and one more is refused']],
  'records.countedRecords': [[requests, 'takes a transaction more once one has counted all that it may']],
  'records.sweptRows': [
    [requests, 'clears as many rows as it may in a transaction, and one more in another'],
  ],

  'store.publishedModels': [
    [
      'integration/open-many-models.test.ts',
      'takes a transaction for as many as fit into it, and one more for one more',
    ],
  ],
  'store.listedEntries': [
    [requests, 'may be asked for with as many as it may have, and one more is refused'],
  ],
  'store.trimmedEvents': [
    [
      'unit/migration/audit-log.test.ts',
      'clears as many events as it may in one transaction, and one more in the next',
    ],
  ],
  'store.searchedEvents': [
    [
      'unit/migration/audit-log.test.ts',
      'finds an event again among as many as it looks through, and not where there is one more behind it',
    ],
  ],
  'store.waitingEvents': [[runtime, 'finds as many as are kept, and one more costs it the oldest']],
  'store.retryAfterMs': [[requests, 'sends callers away for as long as it may, and not for longer']],

  'chunk.records': [[runtime, 'has as many records as it may, and never one more']],
  'chunk.bytes': [nextChunk],
  'chunk.mutations': [nextChunk],
  'chunk.gentleMutations': [gentleChunk],
  'chunk.gentleBytes': [gentleChunk],
  'chunk.targetMs': [nextChunk],
  'chunk.hardMs': [
    [migration, 'commits when it has taken all the time it may'],
    [migration, 'is given up a millisecond later, and tried again with half the records'],
  ],

  'migration.ranges': [[runtime, 'are as many as they may be, and no more however much there is']],
  'migration.splitRanges': [[runtime, 'become as many as they may be, and none is cut any more']],
  'migration.findingKeys': [[verification, 'are as many as may be of one kind, and one more is not kept']],
  'migration.findingKeyDigits': [cutFindings],
  'migration.findingProblemLength': [cutFindings],
  'migration.reportedKeys': [
    [
      verification,
      'are kept where they are as many as it has room for, and shared out where they are one more',
    ],
  ],
  'migration.lookedUpRows': [
    [verification, 'takes as many rows side by side as it may, and one more after them'],
  ],
  'migration.lookedUpBytes': [
    [
      verification,
      'ends with the row that fills its bytes; where a byte less is left, that one comes with the next look',
    ],
  ],
  'migration.namedRows': [
    [verification, 'walks as many rows as it may, and says that there may be more where there is one more'],
  ],
  'migration.listedDuplicates': [[duplicates, 'lists as many pairs as it may, and none more']],
  'migration.comparedRows': [
    [
      duplicates,
      'compares as many rows as it may, and says that there may be others where there is one more',
    ],
  ],
  'migration.comparedMs': [[duplicates, 'goes on for as long as it may, and not a millisecond later']],
  'migration.cursorBytes': [
    ['unit/migration/state.test.ts', 'of 3,000 bytes and less is kept'],
    ['unit/migration/state.test.ts', 'above is refused with its size'],
  ],
  'migration.messageLength': [
    ['unit/migration/state.test.ts', 'up to 1,000 units is kept, a longer one is cut and shows it'],
  ],
  'migration.reasonLength': [[runtime, 'is told up to its length, and one more is cut']],
  'migration.handlerDelayMs': [[migration, '%s where it is %d ms']],
  'migration.backoffMs': [['unit/migration/retry.test.ts', 'doubles from 250 ms to 30 s']],
  'migration.handlerPageRecords': [
    [migration, 'come in pages of as many as may be, and one more with the next page'],
  ],
  'migration.quarantineRows': [
    [migration, 'reads as many rows at once as it may, and one more with the next page'],
  ],
  'migration.throttleMs': [
    ['unit/migration/host-throttle.test.ts', 'is asked again where it wants %d ms and may have fewer'],
  ],
  'migration.pressureMs': [
    ['unit/migration/back-pressure.test.ts', 'begins with the first %i, doubles, and has a bound'],
  ],
  'migration.statusEventMs': [[migration, 'are as far apart as they have to be, and no further']],

  'migration.keptAnswers': [
    ['integration/control.test.ts', 'is remembered as long as it may be, and forgotten behind one more'],
  ],
  'plan.sampledRecords': [[planned, 'are as many as may be asked for, and one more is refused']],
  'plan.countedBytes': [
    [planned, 'is counted where the database takes it for that much, and estimated for a byte more'],
  ],
  'plan.measuredRecords': [
    [
      planned,
      'are all records where they are as many as are read at an end, and not where there is one more',
    ],
  ],
  'plan.sampledSlices': [
    [
      planned,
      'are as many as there are parts up to their bound, and the last is larger where there is one more',
    ],
  ],
  'plan.failureReasons': [
    [planned, 'are listed up to their bound, the most frequent first, and one more is counted'],
  ],
  'plan.shownRecords': [[planned, 'are as many as there is room for, and one more is counted alone']],
  'plan.shownCharacters': [[planned, 'are as long as they may be, and cut where they are one longer']],
  'plan.shownElements': [[planned, 'have as many elements as they may, and a mark in place of one more']],
  'cluster.controlBytes': [[control, 'is as large as it may be, and a byte more is refused']],
  'cluster.controlsAtOnce': [
    [control, 'are carried out side by side up to their number, and one more is told to come again'],
  ],
  'cluster.controlMs': [[control, 'are carried out within their time, and not a millisecond later']],
  'cluster.operatorIdLength': [[control, 'has a %s as long as it may be, and a character more is refused']],
  'cluster.followedSubjects': [
    [control, 'are remembered up to their number, and one more forgets the one that was silent longest'],
  ],
  'cluster.keptAuditMessages': [[control, 'are kept up to their number, and one more drops the oldest']],
  'cluster.namesakes': [[control, 'are remembered up to their number, and no further']],
  'cluster.pendingBytes': [
    [cluster, 'is kept up to its bytes, and the message of one byte more is dropped and counted'],
  ],
  'cluster.drainMs': [[cluster, 'are waited for as long as they may take, and not a millisecond longer']],

  'pool.threads': [[runtime, 'takes as many threads as it may have, and one more is refused']],
  'pool.waitingTasks': [[runtime, 'lets as many tasks wait as may, and one more is refused']],
  'pool.crashes': [[runtime, 'is tried as often as it may, and then fails']],
  'pool.compiledSetups': [
    [runtime, 'are kept up to their bound, and one more drops the one used longest ago'],
  ],
};

/** Numbers that no user can reach: they belong to an encoding or to the shape of a tree. */
const ofAnEncoding = new Set([
  'src/kv/memory/sorted-map.ts maxLeafKeys',
  'src/model/names.ts maxPropertyNumber',
  'src/records/configured-model.ts maxKeySpace',
  'src/records/record-codec.ts maxVarintBytes',
  'src/records/record-rows.ts maxParts',
  'src/records/tuple.ts maxIntegerBytes',
  'src/records/tuple.ts maxLongIntegerBytes',
]);

const sources = ['src', 'machines', 'workers']
  .flatMap((folder) =>
    readdirSync(join(repositoryTop, folder), { recursive: true, encoding: 'utf8' }).map((path) =>
      [folder, ...path.split(/[\\/]/)].join('/'),
    ),
  )
  .filter((path) => path.endsWith('.ts') && path !== 'src/limits.ts')
  .map((path) => ({ path, text: read(path) }));

describe('a limit', () => {
  it.each(all)('%s has a bound, a source, and something that lies beyond', (_name, limit) => {
    expect(Number.isSafeInteger(limit.value) && limit.value > 0).toBe(true);
    expect(limit.source).not.toBe('');
    expect(limit.beyond).not.toBe('');
  });

  it('is kept by some code', () => {
    const code = sources.map(({ text }) => text).join('\n');
    const used = (name: string) =>
      new RegExp(`\\blimits\\.${name.replace('.', '\\.')}\\.value\\b`).test(code);
    expect(all.map(([name]) => name).filter((name) => !used(name))).toEqual([]);
  });

  it('stands nowhere else', () => {
    const bound = /\bconst (max\w*)(?:: number)? = [-+*\s\d_.]+;/g;
    const found = sources.flatMap(({ path, text }) =>
      [...text.matchAll(bound)].map(([, name = '']) => `${path} ${name}`),
    );
    expect(found.filter((one) => !ofAnEncoding.has(one))).toEqual([]);
  });

  it('has a test at it and one past it', () => {
    expect(Object.keys(shownBy).toSorted()).toEqual(all.map(([name]) => name).toSorted());
    const missing = Object.entries(shownBy).flatMap(([name, tests]) =>
      tests.flatMap((shown) => {
        const [file, title] = shown ?? [];
        const text = file === undefined ? '' : read(`test/${file}`);
        return title === undefined || text.includes(`'${title}'`) ? [] : [`${name}: ${file} “${title}”`];
      }),
    );
    expect(missing).toEqual([]);
  });
});

describe('docs/limits.md', () => {
  it('is the table in the code', () => {
    const rows = tableRows(read('docs/limits.md'), 'limit', 'bound', 'where it comes from', 'beyond it');
    const expected = all.map(([name, { value, unit, source, beyond }]) => [
      name,
      `${value.toLocaleString('en')} ${unit}`,
      source,
      beyond,
    ]);
    expect(rows).toEqual(expected);
  });
});
