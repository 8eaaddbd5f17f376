import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { systemIo } from '../../src/cli/io.ts';
import { createProgram } from '../../src/cli/program.ts';
import type { MigrationAuditEventType } from '../../src/migration/audit.ts';
import { migrationPhases } from '../../src/migration/state.ts';
import type { MigrationStatusState } from '../../src/migration/status.ts';
import type { PassName } from '../../src/records/keys.ts';
import type { MetricDefinition } from '../../src/telemetry/metric-definitions.ts';
import { labelValues, metricDefinitions } from '../../src/telemetry/metric-definitions.ts';
import { tableRows } from '../rig/readme.ts';
import { commandsOf } from './cli/flag-rows.ts';

const read = (path: string) => readFileSync(join(repositoryTop, 'docs/observability', path), 'utf8');
const definitions: readonly MetricDefinition[] = Object.values(metricDefinitions);
const page = read('metrics.md');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}
const rules = (parse(read('alerts.yml')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);

const functions = new Set(['max', 'min', 'sum', 'increase', 'rate']);
const grouping = new Set(['by', 'without']);

/** What an expression names. Whatever is neither metric, label, function nor number is not understood. */
function namedIn(expr: string) {
  const metrics: string[] = [];
  const labels: { readonly metric: string | undefined; readonly label: string; readonly value?: string }[] =
    [];
  const grouped: string[] = [];
  const token =
    /\s+|(?<word>[a-z_]\w*)|\{(?<matchers>[^}]*)\}|\[\d+[smhd]\]|[()]|==|[><*/+-]|\d+(?:\.\d+)?/giy;
  let at = 0;
  while (at < expr.length) {
    token.lastIndex = at;
    const found = token.exec(expr);
    if (found === null) throw new Error(`not understood: ${expr.slice(at)}`);
    at = token.lastIndex;
    const { word, matchers } = found.groups ?? {};
    if (matchers !== undefined) {
      for (const matcher of matchers.split(',')) {
        const [, label = '', value = ''] = /^\s*(\w+)="([^"]*)"\s*$/.exec(matcher) ?? [];
        labels.push({ metric: metrics.at(-1), label, value });
      }
    }
    if (word === undefined || functions.has(word)) continue;
    if (!grouping.has(word)) {
      metrics.push(word);
      continue;
    }
    const list = /\s*\(([^)]*)\)/y;
    list.lastIndex = at;
    const names = list
      .exec(expr)?.[1]
      ?.split(',')
      .map((name) => name.trim()) ?? [''];
    grouped.push(...names);
    at = list.lastIndex;
  }
  for (const label of grouped) labels.push(...metrics.map((metric) => ({ metric, label })));
  return { metrics, labels, grouped };
}

function definitionOf(name: string | undefined): MetricDefinition | undefined {
  return definitions.find((one) =>
    one.type === 'histogram'
      ? [`${one.name}_bucket`, `${one.name}_sum`, `${one.name}_count`].includes(name ?? '')
      : one.name === name,
  );
}

describe('the metrics', () => {
  it('are all in the table of the docs, and no others', () => {
    expect(tableRows(page, 'metric', 'type', 'labels', 'meaning')).toEqual(
      definitions.map(({ name, type, labelNames, help }) => [
        name,
        type,
        // A cell that is one piece of code comes without its backquotes.
        labelNames.length === 1 ? labelNames[0] : labelNames.map((label) => `\`${label}\``).join(', '),
        help,
      ]),
    );
  });

  it('have names by the conventions of Prometheus, each once', () => {
    const wrong = definitions.filter(
      ({ name, type }) =>
        !/^godwit_[a-z]+(_[a-z]+)*$/.test(name) ||
        (type === 'counter') !== name.endsWith('_total') ||
        /_(ms|milliseconds|kb|percent|count|sum|bucket)(_|$)/.test(name),
    );
    expect(wrong).toEqual([]);
    expect(new Set(definitions.map(({ name }) => name)).size).toBe(definitions.length);
    expect(
      definitions.filter(({ type, buckets }) => (type === 'histogram') !== (buckets !== undefined)),
    ).toEqual([]);
    for (const { buckets = [] } of definitions) {
      expect(buckets).toEqual([...new Set(buckets)].toSorted((a, b) => a - b));
    }
  });

  it('have labels of bounded sets, and these are the ones of the code', () => {
    const states: Readonly<Record<MigrationStatusState, true>> = {
      Idle: true,
      Waiting: true,
      Running: true,
      Paused: true,
      Canceled: true,
      Failed: true,
    };
    const types: Readonly<Record<MigrationAuditEventType, true>> = {
      LeaseAcquired: true,
      LeaseRejected: true,
      PhaseStarted: true,
      PhaseCompleted: true,
      Partial: true,
      RetryScheduled: true,
      Failed: true,
      Paused: true,
      Resumed: true,
      Canceled: true,
      Completed: true,
    };
    const passes: Readonly<Record<PassName, true>> = { backfill: true, index: true, verify: true };
    expect(labelValues.state).toEqual(Object.keys(states));
    expect(labelValues.type).toEqual(Object.keys(types));
    expect(labelValues.pass).toEqual(Object.keys(passes));
    expect(labelValues.phase).toEqual(migrationPhases);

    const rows = new Map(tableRows(page, 'label', 'values').map(([label, values]) => [label, values]));
    const used = new Set(definitions.flatMap(({ labelNames }) => labelNames));
    expect(new Set(rows.keys())).toEqual(used);
    for (const [label, values] of Object.entries(labelValues)) {
      expect(rows.get(label)).toBe(values.map((value) => `\`${value}\``).join(', '));
    }
  });
});

const commands = commandsOf(createProgram(systemIo, () => undefined)).map(({ name }) => name);

describe('the alert rules', () => {
  it('are there for what an operator has to know', () => {
    expect(rules.map(({ alert }) => alert)).toEqual(
      expect.arrayContaining([
        'GodwitMigrationFailed',
        'GodwitMigrationStalled',
        'GodwitMigrationSlow',
        'GodwitLeaseFlapping',
        'GodwitBusDisconnected',
        'GodwitVerificationFindings',
        'GodwitRecordsQuarantined',
      ]),
    );
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });

  it.each(rules)('$alert goes by metrics and labels that there are', ({ expr }) => {
    const { metrics, labels } = namedIn(expr);
    expect(metrics.length).toBeGreaterThan(0);
    expect(metrics.filter((name) => definitionOf(name) === undefined)).toEqual([]);
    for (const { metric, label, value } of labels) {
      expect(definitionOf(metric)?.labelNames).toContain(label);
      const closed: Readonly<Record<string, readonly string[]>> = labelValues;
      if (value !== undefined) expect(closed[label]).toContain(value);
    }
    // A gauge goes down, and a counter says nothing by itself.
    for (const name of metrics) {
      const isCounted = definitionOf(name)?.type !== 'gauge';
      expect(new RegExp(`(?:increase|rate)\\(${name}\\b`).test(expr)).toBe(isCounted);
    }
  });

  it.each(rules)('$alert says what is wrong, and which command helps', (rule) => {
    const { summary = '', description = '', runbook = '' } = rule.annotations;
    // Those of `lease` are two words.
    const named = [...runbook.matchAll(/`godwit\s+((?:lease\s+)?[a-z]+)/g)].map(([, command = '']) =>
      command.replace(/\s+/, ' '),
    );
    const isFound = named.length > 0 || /`store\.\w+\(/.test(runbook);
    expect([summary, description].filter((text) => text.length < 20)).toEqual([]);
    expect(isFound).toBe(true);
    expect(named.filter((command) => !commands.includes(command))).toEqual([]);
    expect(['critical', 'warning']).toContain(rule.labels['severity']);
    expect(rule.for ?? '1m').toMatch(/^\d+[mh]$/);

    const { grouped } = namedIn(rule.expr);
    const shown = [...`${summary} ${description} ${runbook}`.matchAll(/\{\{(.*?)\}\}/g)].map(
      ([, text = '']) => text.trim(),
    );
    const isThere = (text: string) =>
      /^\$value( \| humanize(Duration|Percentage)?)?$/.test(text) ||
      grouped.includes(/^\$labels\.(\w+)$/.exec(text)?.[1] ?? '');
    expect(shown.filter((text) => !isThere(text))).toEqual([]);
  });

  it('are not understood where they name what there is not', () => {
    expect(namedIn('max by (node) (godwit_migration_eta_seconds) > 1').labels).toEqual([
      { metric: 'godwit_migration_eta_seconds', label: 'node' },
    ]);
    expect(definitionOf('godwit_migration_eta')).toBeUndefined();
    expect(definitionOf('godwit_migration_chunk_records')).toBeUndefined();
    expect(() => namedIn('godwit_bus_connected @ 5')).toThrow('not understood');
  });
});
