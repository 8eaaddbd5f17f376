import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

const logs = 'integration/logs.test.ts';
const metrics = 'integration/metrics.test.ts';

/** What operators see. */
export const telemetryMutations: readonly Mutation[] = [
  {
    mutation: 'a cursor that is too large is told, whatever is in it',
    killer: by(
      logs,
      'a run that fails CURSOR_TOO_LARGE, because a handler answers a record as its cursor: said once, no record told',
    ),
    replacements: [
      {
        file: 'src/migration/state.ts',
        find: 'details: { bytes, maxBytes: maxCursorBytes },',
        replace: 'details: { bytes, maxBytes: maxCursorBytes, cursor },',
      },
    ],
  },
  {
    mutation: 'lines of a migration do not say of which one where a logger has no children',
    killer: by(logs, 'a run that goes well says the same to a logger that can have no children'),
    replacements: [
      {
        file: 'src/telemetry/logger.ts',
        find: 'return isLogger(made) ? made : withBindings(logger, bindings);',
        replace:
          'return isLogger(made) || withBindings(logger, bindings) === logger ? (made as Logger) : logger;',
      },
    ],
  },
  {
    mutation: 'a failure without an error of its own is not logged',
    killer: by(
      logs,
      'a run that fails HANDLER_FAILED, because a handler answers Fatal: said once, no record told',
    ),
    replacements: [
      {
        file: 'src/migration/step.ts',
        find: "if (result.type === 'halted' && result.as === 'failed') {",
        replace: "if (result.type === 'halted' && result.as === 'failed' && err !== undefined) {",
      },
    ],
  },
  {
    mutation: 'whatever code a handler throws is a series of its own',
    killer: by(
      'unit/telemetry/meters.test.ts',
      'the meters have a code only if it is one of Godwit: whatever else a handler throws is one series',
    ),
    replacements: [
      {
        file: 'src/telemetry/meters.ts',
        find: 'code !== undefined && Object.hasOwn(errorCodes, code) ? code',
        replace: 'code !== undefined && errorCodes !== undefined ? code',
      },
    ],
  },
  {
    mutation: 'a model that is idle again keeps its progress in the metrics',
    killer: by(
      metrics,
      'a scrape during a migration and after it is text of Prometheus, whose counters equal the audit',
    ),
    replacements: [
      {
        file: 'src/telemetry/meters.ts',
        find: "(state === 'Idle' ? null : fraction)",
        replace: "(state === '' ? null : (fraction ?? 1))",
      },
    ],
  },
  {
    mutation: 'a scrape shows what other nodes do as it was when this one last heard of it',
    killer: by(metrics, 'a scrape tells where other nodes have brought the model since'),
    replacements: [
      {
        file: 'src/store/core.ts',
        find: "waited.filter(({ id }) => lastStatus.get(id)?.state !== 'Idle');",
        replace: 'waited.filter(({ id }) => id === 0);',
      },
    ],
  },
  {
    mutation: 'a scrape waits for the database for as long as it takes',
    killer: by(
      metrics,
      'a scrape waits for a database that does not answer for a second, and has what was known',
    ),
    replacements: [
      {
        file: 'src/store/core.ts',
        find: 'const scrapeWaitMs = 1_000;',
        replace: 'const scrapeWaitMs = 1_000_000;',
      },
    ],
  },
  {
    mutation: 'the gauges of a store stay when it is closed',
    killer: by(
      metrics,
      'a registry of several stores loses the gauges of one that is closed, and keeps its counters',
    ),
    replacements: [{ file: 'src/store/core.ts', find: '    meters.close();\n', replace: '' }],
  },
  {
    mutation: 'records that a verification reads count as moved',
    killer: by(
      metrics,
      'a scrape during a migration and after it is text of Prometheus, whose counters equal the audit',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: 'bytesMoved: isBackfill ? result.row.bytes - row.bytes : 0,',
        replace: 'bytesMoved: chunk.bytes,',
      },
    ],
  },
  {
    mutation: 'a phase counts from when an operator resumed it',
    killer: by(
      metrics,
      'a phase takes from its first start to its end, also where an operator resumed it between',
    ),
    replacements: [
      {
        file: 'src/migration/step-transitions.ts',
        find: 'const isFirst = state.phase !== phase || state.phaseStartedMs.length === 0;',
        replace: 'const isFirst = isNew;',
      },
    ],
  },
];
