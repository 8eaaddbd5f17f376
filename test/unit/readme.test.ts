import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { errorCodes } from '../../src/errors.ts';
import { keyValueLimits } from '../../src/kv/kv.ts';
import type { BackfillOptions } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import * as composites from '../../src/model/composite-constructors.ts';
import * as scalars from '../../src/model/scalar-constructors.ts';
import { maxRecordBytes } from '../../src/records/record-codec.ts';
import { checkOptions, storeOptionNames } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { metricDefinitions } from '../../src/telemetry/metric-definitions.ts';
import { codeBlocks, readme, tableRows } from '../rig/readme.ts';

const column = (rows: readonly (readonly string[])[], at: number) => rows.map((row) => row[at] ?? '');

describe('the README', () => {
  it('begins with what this is and the two commands, then the shortest useful program', () => {
    const [first, second, third] = codeBlocks(readme);
    expect(first).toEqual({ language: 'sh', text: 'npm ci && npm start\n' });
    expect(second).toEqual({ language: 'sh', text: 'npm ci && npm test\n' });
    expect(third?.language).toBe('js');
    const headings = [...readme.matchAll(/^##? (.+)$/gm)].map(([, heading]) => heading);
    expect(headings.slice(0, 3)).toEqual(['Godwit', 'The shortest useful program', 'Concepts']);
  });

  it('leads to files that are there', () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, link = '']) => link);
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((link) => !existsSync(join(repositoryTop, link)))).toEqual([]);
  });

  it('names every call of a store', () => {
    const calls = Object.getOwnPropertyNames(FoundationDBDataStore.prototype).filter(
      (name) => name !== 'constructor',
    );
    const table = tableRows(readme, 'call', 'what it does').join('\n');
    expect(calls.filter((name) => !table.includes(`${name}(`))).toEqual([]);
  });

  it('names every type of a property', () => {
    const types = column(tableRows(readme, 'type', 'value', 'constraints'), 0);
    expect(types.toSorted()).toEqual(Object.keys({ ...scalars, ...composites }).toSorted());
  });

  it('names every option of backfill', () => {
    type KeyOf<Union> = Union extends unknown ? keyof Union : never;
    const all: Readonly<Record<KeyOf<BackfillOptions>, true>> = {
      module: true,
      transform: true,
      unchanged: true,
      accepts: true,
      onPoison: true,
      maxQuarantined: true,
    };
    expect(column(tableRows(readme, 'option', 'meaning'), 0)).toEqual(Object.keys(all));
  });

  it('names everything that a handler is given, and everything that it may answer', () => {
    const all: Readonly<Record<keyof MigrationContext, true>> = {
      store: true,
      storedDataModel: true,
      newDataModel: true,
      migrationStatus: true,
      previousState: true,
      attempt: true,
      cursor: true,
      signal: true,
      logger: true,
      transact: true,
      records: true,
      write: true,
    };
    const sentence = /^`context` has .*$/m.exec(readme)?.[0] ?? '';
    expect([...sentence.matchAll(/`(\w+)`/g)].map(([, name]) => name).slice(1, 13)).toEqual(Object.keys(all));
    for (const name of Object.keys(MigrationOutcome)) expect(readme).toContain(`\`MigrationOutcome.${name}`);
  });

  it('names no metric that there is not, and where all of them are', () => {
    const metrics = Object.values(metricDefinitions).map(({ name }) => String(name));
    const named = [...readme.matchAll(/`(godwit_\w+)`/g)].map(([, name = '']) => name);
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((name) => !metrics.includes(name))).toEqual([]);
    expect(readme).toContain('(docs/observability/metrics.md)');
    expect(readme).toContain('(docs/observability/alerts.yml)');
  });

  it('has the limits that are in force', () => {
    expect(readme).toContain(`A key has at most ${keyValueLimits.keyBytes.toLocaleString('en')} bytes`);
    expect(readme).toContain(`A record has at most ${(maxRecordBytes / 1_000).toLocaleString('en')} kB`);
    const { transactionMs, transactionBytes } = keyValueLimits;
    expect(readme).toContain(`${transactionMs / 1_000} s and ${transactionBytes / 1_000_000} MB`);
  });
});

describe('its table of options', () => {
  const rows = tableRows(readme, 'option', 'type, unit', 'default', 'range', 'meaning');

  it('has every option once, in the order of the code, and no other', () => {
    expect(column(rows, 0)).toEqual(storeOptionNames);
  });

  it('says what each means, and of what type it is', () => {
    expect(rows.filter((row) => row.length !== 5 || row[1] === '' || row[4] === '')).toEqual([]);
  });

  it('has the defaults of the code', () => {
    const given = { database: 'memory:', subspace: ['a', 'b'], dataModelsById: {} };
    const checked: Readonly<Record<string, unknown>> = { ...checkOptions(given) };
    const literal = Object.entries(checked).filter(
      ([name, value]) => typeof value !== 'object' && !(name in given) && name !== 'storeName',
    );
    const shown = literal.map(([name, value]) => {
      const text = typeof value === 'number' ? value.toLocaleString('en') : String(value);
      return [name, typeof value === 'string' ? `'${text}'` : text];
    });
    expect(shown.length).toBeGreaterThan(6);
    const table = new Map(rows.map((row) => [row[0], row[2]]));
    expect(shown.map(([name]) => [name, table.get(name)])).toEqual(shown);
    const withoutDefault = rows.filter(([name = '']) => !(name in checked));
    expect(column(withoutDefault, 2).filter((text) => /^[\d,]+$|^(true|false)$/.test(text))).toEqual([]);
  });

  it('marks those that are required, and only those', () => {
    const required = rows.filter((row) => row[2] === 'required').map(([name]) => name);
    expect(required).toEqual(['database', 'subspace', 'dataModelsById']);
  });
});

describe('its table of errors', () => {
  it('is the table in the code', () => {
    const rows = tableRows(readme, 'code', 'family', 'retryable', 'what happened', 'what to do');
    const expected = Object.entries(errorCodes).map(([code, { family, retryable, meaning, cure }]) => [
      code,
      family,
      retryable ? 'yes' : 'no',
      meaning,
      cure,
    ]);
    expect(rows).toEqual(expected);
  });

  it('has all codes that the text names', () => {
    const named = [...readme.matchAll(/`([A-Z]+_[A-Z_]+)`/g)].map(([, code = '']) => code);
    expect(named.length).toBeGreaterThan(Object.keys(errorCodes).length);
    expect(named.filter((code) => !(code in errorCodes))).toEqual([]);
  });
});

describe('its guarantees and limits', () => {
  const sentences = ['Guarantees', 'Limits'].flatMap((heading) => {
    const section = new RegExp(`^## ${heading}\\n(.*?)^## `, 'ms').exec(readme)?.[1] ?? '';
    return [...section.matchAll(/^- (.+)$/gm)].map(([, sentence = '']) => sentence);
  });

  it('are there', () => {
    expect(sentences.length).toBeGreaterThan(10);
  });

  it.each(sentences)('%s', (sentence) => {
    const [, file = '', title = ''] = /<!-- (\S+): (.+) -->$/.exec(sentence) ?? [];
    expect(sentence).toMatch(/<!-- /);
    expect(readFileSync(join(repositoryTop, file), 'utf8')).toContain(title);
  });
});
