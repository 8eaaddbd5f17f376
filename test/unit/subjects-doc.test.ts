import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { controlVerbs } from '../../src/cluster/control-request.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { errorCodes } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { tableRows } from '../rig/readme.ts';
import { malformed } from '../rig/subject-schemas.ts';

const read = (path: string) => readFileSync(join(repositoryTop, path), 'utf8');
const page = read('docs/subjects.md');

/** Each is announced by its subject in backquotes, and by `request` or `reply` where it is one. */
const examples = [...page.matchAll(/^`([^`]+)`(?:, (request|reply))?:\n\n```json\n([\s\S]*?)^```$/gm)].map(
  ([, subject = '', how, text = '']) => ({ subject, kind: how ?? subject, text }),
);

describe('docs/subjects.md', () => {
  it('has an example of every kind of message, each as its schema says', () => {
    expect(examples).toHaveLength([...page.matchAll(/^```json$/gm)].length);
    expect(examples.map(({ kind, text }) => malformed(kind, Buffer.from(text)))).toEqual(
      examples.map(() => undefined),
    );
    const kinds = new Set(examples.map(({ kind }) => kind.replace(/\.1$/, '').split('.').at(-1)));
    expect(kinds).toEqual(new Set(['status', 'audit', 'metrics', 'node', 'request', 'reply']));
  });

  it('names every definition of a message that the schema has, and no other', () => {
    const { $defs } = JSON.parse(read('docs/subjects.v1.schema.json')) as { readonly $defs: object };
    const rows = tableRows(page, 'subject', 'who publishes', 'what', 'definition');
    const named = rows.flatMap(([, , , definitions = '']) => definitions.match(/\w+/g) ?? []);
    const messages = Object.keys($defs).filter((name) => /Message$|^control/.test(name));
    expect(new Set(named)).toEqual(new Set(messages));
    const verbs = rows.map(([subject = '']) => /control\.<model>\.(\w+)$/.exec(subject)?.[1]);
    expect(verbs.filter((verb) => verb !== undefined)).toEqual(controlVerbs);
  });

  it('says of every code of a refusal what the table of errors says', () => {
    const rows = tableRows(page, 'code', 'retryable', 'when');
    expect(rows.map(([code, retryable]) => [code, retryable])).toEqual(
      rows.map(([code]) => [code, errorCodes[code as ErrorCode].retryable ? 'yes' : 'no']),
    );
    const codes = rows.map(([code]) => code);
    expect(codes).toEqual(
      expect.arrayContaining(Object.keys(errorCodes).filter((code) => code.startsWith('CONTROL_'))),
    );
  });

  it('has the properties of a request, and their bounds', () => {
    const { $defs } = JSON.parse(read('docs/subjects.v1.schema.json')) as {
      readonly $defs: { readonly controlRequest: { readonly properties: object } };
    };
    const names = [...page.matchAll(/^\| property +\| what[\s\S]*?\n\n/gm)].map(([table]) =>
      [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name),
    );
    expect(names.at(-1)).toEqual(Object.keys($defs.controlRequest.properties));
    const { controlBytes, controlsAtOnce, controlMs, operatorIdLength } = limits.cluster;
    const { keptAnswers } = limits.migration;
    expect(tableRows(page, 'bound', 'value').map(([, value]) => value)).toEqual(
      [controlBytes, controlsAtOnce, controlMs, keptAnswers, operatorIdLength].map(({ value }) =>
        value.toLocaleString('en-US'),
      ),
    );
  });

  it('names the users of the permission file', () => {
    const users = [...read('docs/nats-permissions.conf').matchAll(/user: (\w+)/g)].map(([, user]) => user);
    expect(tableRows(page, 'user', 'may').map(([user]) => user)).toEqual(users);
  });

  it('comes with the package, and so does what it leads to', () => {
    const { files } = JSON.parse(read('package.json')) as { readonly files: readonly string[] };
    const linked = [...page.matchAll(/\]\(([\w.-]+)\)/g)].map(([, name = '']) => `docs/${name}`);
    expect(files).toEqual(expect.arrayContaining(['docs/subjects.md', ...linked]));
  });
});
