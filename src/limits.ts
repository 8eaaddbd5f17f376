import { clusterLimits } from './limits/cluster.ts';
import type { Limit } from './limits/limit.ts';
import { planLimits } from './limits/plan.ts';

export type { Limit } from './limits/limit.ts';

/**
 * Every bound of the library, in one place: of queues, batches, caches, retries, messages, and of what users may hand
 * in. `docs/limits.md` is this table for readers, and `test/unit/limits.test.ts` names for each a test at it and one
 * past it.
 *
 * Not in here: the natural limits of types (`src/model/limits.ts`), sizes that belong to an encoding, how often
 * something is looked at (polls and heartbeats), and the ranges of options, which stand with the options.
 */

/** By concern: what the database takes, how the engine works, then what models, requests and migrations may. */
export const limits = {
  database: {
    keyBytes: {
      value: 10_000,
      unit: 'bytes',
      source: 'FoundationDB’s documentation, “Known Limitations”',
      beyond: 'refused: 2102, `KEY_TOO_LARGE`',
    },
    valueBytes: {
      value: 100_000,
      unit: 'bytes',
      source: 'FoundationDB’s documentation, “Known Limitations”',
      beyond: 'refused: 2103',
    },
    transactionBytes: {
      value: 10_000_000,
      unit: 'bytes',
      source: 'FoundationDB’s documentation, “Known Limitations”; keys, values and conflict ranges',
      beyond: 'refused at its commit: 2101',
    },
    transactionMs: {
      value: 5_000,
      unit: 'ms',
      source: 'FoundationDB’s documentation, “Known Limitations”',
      beyond: 'fails with 1007; a request is tried again',
    },
    watches: {
      value: 10_000,
      unit: 'watches',
      source: 'FoundationDB’s default for one database object',
      beyond: 'refused: 1032',
    },
    driverWatches: {
      value: 8_000,
      unit: 'watches',
      source: 'of the 10,000 that FoundationDB grants one database object; the rest is left to the host',
      beyond: 'looked at again every second instead',
    },
    retryDelayMs: {
      value: 1_000,
      unit: 'ms',
      source: 'FoundationDB’s client, which begins with 10 ms and doubles; with full jitter',
      beyond: 'the delay stops growing',
    },
  },
  engine: {
    snapshots: {
      value: 1_000,
      unit: 'readers',
      source:
        'of different versions, open in one process: each has a reader of the directory, and pins pages',
      beyond: 'the transaction fails with 1037 and is tried again; a snapshot ends within 5 s',
    },
    readers: {
      value: 4_096,
      unit: 'readers',
      source: 'of a directory, over all processes: room for four that have all their snapshots open',
      beyond: 'the transaction fails with 1037 and is tried again; a snapshot ends within 5 s',
    },
    batchCommits: {
      value: 1_000,
      unit: 'commits',
      source: 'others wait for the lock meanwhile; a versionstamp has room for 65,536',
      beyond: 'waits for the next exclusive write',
    },
    batchBytes: {
      value: 4_000_000,
      unit: 'bytes',
      source: '8 MB under the writer’s lock cost its neighbours 46 ms; one commit more may pass it',
      beyond: 'the next commit waits for the next exclusive write',
    },
    logMs: {
      value: 10_000,
      unit: 'ms',
      source: 'twice the life of a transaction, after which nobody reads a log entry',
      beyond: 'the entry is deleted',
    },
    prunedEntries: {
      value: 200,
      unit: 'entries',
      source: 'deleted from the log by one commit, which adds one: deleting always catches up',
      beyond: 'left for the next commit',
    },
    iteratorPairs: {
      value: 256,
      unit: 'pairs',
      source: 'read at once by an iterator: enough to spread the cost of a cursor',
      beyond: 'read with the next page',
    },
  },
  model: {
    nameLength: {
      value: 64,
      unit: 'characters',
      source: 'names stand in subjects, metrics and messages',
      beyond: 'refused: `MODEL_INVALID`',
    },
    decimalDigits: {
      value: 38,
      unit: 'digits',
      source: 'what SQL databases give `DECIMAL`, so that every such column has a place',
      beyond: 'refused: `MODEL_INVALID`',
    },
    recordDepth: {
      value: 100,
      unit: 'levels',
      source: 'embedded records in one another: far above any sane model, far below the depth of the stack',
      beyond: 'refused: `RECORD_INVALID`',
    },
    keyDepth: {
      value: 8,
      unit: 'levels',
      source: 'keys that refer to models whose keys refer to models',
      beyond: 'refused: `RECORD_INVALID`',
    },
    violations: {
      value: 100,
      unit: 'violations',
      source: 'nobody reads on, and a list may have a million elements',
      beyond: 'nobody looks for more',
    },
    listedViolations: {
      value: 10,
      unit: 'violations',
      source: 'listed by one error: a record of many elements could fill a log',
      beyond: 'counted, not listed',
    },
  },
  records: {
    recordBytes: {
      value: 1_000_000,
      unit: 'bytes',
      source: 'a tenth of a transaction, so that a record can be replaced together with its index entries',
      beyond: 'refused: `RECORD_TOO_LARGE`',
    },
    partBytes: {
      value: 90_000,
      unit: 'bytes',
      source: 'of a record or a definition in one row: below the 100,000 of a value, with room to spare',
      beyond: 'continued in the next row',
    },
    pageBytes: {
      value: 1_000_000,
      unit: 'bytes',
      source: 'a tenth of a transaction; one record more may pass it',
      beyond: 'the page ends, and the next one goes on',
    },
    pageRecords: {
      value: 10_000,
      unit: 'records',
      source: 'keeps a page of small records far below the 5 s of a transaction',
      beyond: 'refused: `RECORD_INVALID`',
    },
    countedRecords: {
      value: 5_000,
      unit: 'records',
      source: 'counted in one transaction: nothing of them is kept',
      beyond: 'counted in the next transaction',
    },
    sweptRows: {
      value: 10_000,
      unit: 'rows',
      source: '500,000 rows cleared at once took 311 ms under the writer’s lock',
      beyond: 'cleared by the next transaction',
    },
  },
  store: {
    publishedModels: {
      value: 50,
      unit: 'models',
      source: 'published in one transaction: far below its 10 MB, whatever their definitions',
      beyond: 'published by the next transaction',
    },
    listedEntries: {
      value: 10_000,
      unit: 'entries',
      source: 'audit events or records in quarantine in one answer: some 10 MB at most',
      beyond: 'refused: `OPTION_INVALID`',
    },
    trimmedEvents: {
      value: 1_000,
      unit: 'events',
      source: 'cleared from the audit log by one transaction, which reads them: 5 MB at most',
      beyond: 'cleared by the next transaction',
    },
    searchedEvents: {
      value: 100,
      unit: 'events',
      source: 'the latest of a model, after an unknown result: no more happens to it between two attempts',
      beyond: 'the event is kept once more',
    },
    waitingEvents: {
      value: 1_000,
      unit: 'events',
      source: 'kept for a reader of `migrationEvents` that is slow: about a minute of one migration',
      beyond: 'the oldest is dropped; the numbers show a gap',
    },
    retryAfterMs: {
      value: 30_000,
      unit: 'ms',
      source: 'told to a request at a closed gate, from 100 ms on: callers shall notice that it has opened',
      beyond: 'cut',
    },
  },
  chunk: {
    records: {
      value: 2_000,
      unit: 'records',
      source: 'each commit writes pages of an index again: smaller chunks of small records were slower',
      beyond: 'taken by the next chunk',
    },
    bytes: {
      value: 900_000,
      unit: 'bytes',
      source: 'FoundationDB’s advice to stay below 1 MB',
      beyond: 'the next chunk is smaller; a single record may pass it',
    },
    mutations: {
      value: 10_000,
      unit: 'mutations',
      source: 'what 2,000 records with four index entries each come to',
      beyond: 'the next chunk is smaller',
    },
    gentleMutations: {
      value: 400,
      unit: 'mutations',
      source: 'while requests come in: they wait for the chunk that is written, these take about 5 ms',
      beyond: 'the next chunk is smaller',
    },
    gentleBytes: {
      value: 250_000,
      unit: 'bytes',
      source:
        'while requests come in, and records are large: about as much for the disk as 400 scattered rows',
      beyond: 'the next chunk is smaller; a single record may pass it',
    },
    targetMs: {
      value: 1_500,
      unit: 'ms',
      source: 'a pause takes effect at the end of a chunk, and a person waits for it',
      beyond: 'the next chunk is smaller',
    },
    hardMs: {
      value: 4_000,
      unit: 'ms',
      source: 'the 5 s of a transaction, less the time to be told',
      beyond: 'given up, and tried again with half the records',
    },
  },
  migration: {
    ranges: {
      value: 64,
      unit: 'ranges',
      source: 'enough for every mover of a cluster to have some, few enough to be read at once',
      beyond: 'the ranges are larger instead',
    },
    splitRanges: {
      value: 256,
      unit: 'ranges',
      source: 'planned and cut off others together: they are read at once, some 100 kB',
      beyond: 'nothing is cut any more: who has nothing to move waits for the others',
    },
    findingKeys: {
      value: 20,
      unit: 'keys',
      source: 'a person looks at the first few; they lie in the rows of the ranges',
      beyond: 'counted, not kept',
    },
    findingKeyDigits: {
      value: 128,
      unit: 'digits',
      source: 'hexadecimal, of a key of 64 bytes: a key of 10,000 would not fit into the row',
      beyond: 'cut',
    },
    findingProblemLength: {
      value: 160,
      unit: 'characters',
      source: 'what is wrong with a record: 40 of them and their keys lie in the row of a range',
      beyond: 'cut',
    },
    reportedKeys: {
      value: 240,
      unit: 'keys',
      source: 'of all lists of a verification’s report together: it lies in one row of 100 kB',
      beyond: 'shared out among the lists that have any, at least one each',
    },
    lookedUpRows: {
      value: 100,
      unit: 'rows',
      source:
        'records or index entries looked up side by side: more waits in the client, not in the database',
      beyond: 'looked up next',
    },
    lookedUpBytes: {
      value: 4_000_000,
      unit: 'bytes',
      source:
        'records that index entries lead to, read by one transaction: four of the largest, far below its 5 s',
      beyond: 'the chunk ends with the entries that were looked up',
    },
    namedRows: {
      value: 1_000_000,
      unit: 'rows',
      source: 'walked to name what is missing from an index that does not agree: about a minute',
      beyond: 'what was found until then is named, and the report says that there may be more',
    },
    listedDuplicates: {
      value: 20,
      unit: 'pairs',
      source: 'a person looks at the first few; they lie in the row of the state, each with two cut keys',
      beyond: 'not looked for',
    },
    comparedRows: {
      value: 100_000,
      unit: 'rows',
      source: 'records, or their unique entries, compared to list duplicates: remembered in some 20 MB',
      beyond: 'what was found until then is listed, and the message says that there may be others',
    },
    comparedMs: {
      value: 10_000,
      unit: 'ms',
      source: 'to list duplicates, by a transform that may be slow: the failure waits for it to be written',
      beyond: 'what was found until then is listed, and the message says that there may be others',
    },
    cursorBytes: {
      value: 3_000,
      unit: 'bytes',
      source: 'leaves room for the rest of a state that is read and written often',
      beyond: 'refused: `CURSOR_TOO_LARGE`',
    },
    messageLength: {
      value: 1_000,
      unit: 'characters',
      source: 'of handlers, errors and operators: the row of the state and 4 kB of an audit event hold it',
      beyond: 'cut',
    },
    reasonLength: {
      value: 500,
      unit: 'characters',
      source: 'why a transform refused a record: enough to see what it is about',
      beyond: 'cut',
    },
    handlerDelayMs: {
      value: 86_400_000,
      unit: 'ms',
      source: 'a handler may ask for a day; more is a mistake in a unit',
      beyond: 'cut',
    },
    backoffMs: {
      value: 30_000,
      unit: 'ms',
      source: 'from 250 ms, doubled each time, with full jitter: a cure takes effect within half a minute',
      beyond: 'the delay stops growing',
    },
    handlerPageRecords: {
      value: 500,
      unit: 'records',
      source: 'read at once by `records()` of a handler, within the bytes of a page',
      beyond: 'read with the next page',
    },
    quarantineRows: {
      value: 50,
      unit: 'rows',
      source: 'read at once: each may be as large as a record',
      beyond: 'read with the next page',
    },
    keptAnswers: {
      value: 128,
      unit: 'entries',
      source: 'to requests of operators with an id, of a model: a day of the busiest one',
      beyond: 'the oldest is forgotten; its request would be carried out again',
    },
    throttleMs: {
      value: 60_000,
      unit: 'ms',
      source:
        'of one answer of `migrationThrottle`, and until there is one: a host that forgot it holds nothing up',
      beyond: 'asked again; without an answer the chunk goes on',
    },
    pressureMs: {
      value: 5_000,
      unit: 'ms',
      source:
        'before a chunk, from 50 ms, doubled while the database does not keep up: it recovers in seconds',
      beyond: 'the delay stops growing',
    },
    statusEventMs: {
      value: 100,
      unit: 'ms',
      source: 'between two status events of a model: ten a second are as many as a person follows',
      beyond: 'sooner ones become one, the last is never lost',
    },
  },
  plan: planLimits,
  cluster: clusterLimits,
  pool: {
    threads: {
      value: 64,
      unit: 'threads',
      source: 'one main thread commits what about eight of them prepare',
      beyond: 'refused: `RangeError`',
    },
    waitingTasks: {
      value: 1_000,
      unit: 'tasks',
      source: 'a migration has a few chunks in flight: more than this is a fault of the caller',
      beyond: 'refused: `Error`',
    },
    crashes: {
      value: 2,
      unit: 'tries',
      source: 'a thread that ends is not to blame for the next one; twice it is the chunk',
      beyond: 'the migration fails: `TRANSFORM_FAILED`',
    },
    compiledSetups: {
      value: 16,
      unit: 'setups',
      source: 'kept compiled by a thread: more than the models that migrate side by side (2 by default)',
      beyond: 'the one used longest ago is dropped, and compiled again when it is needed',
    },
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, Limit>>>>;
