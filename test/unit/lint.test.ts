import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';

/** Lines of a file that has to be refused, each with the rule that refuses it. */
const timeAndChance: readonly (readonly [line: string, rule: string])[] = [
  ['export const v1 = Date.now();', 'no-restricted-globals'],
  ['export const v2 = new Date();', 'no-restricted-globals'],
  ['export const v3 = globalThis.Date;', 'no-restricted-globals'],
  ['export const v4 = performance.now();', 'no-restricted-globals'],
  ['export const v5 = setTimeout(String, 1);', 'no-restricted-globals'],
  ['export const v6 = setInterval(String, 1);', 'no-restricted-globals'],
  ['export const v7 = setImmediate(String);', 'no-restricted-globals'],
  ['export const v8 = crypto.randomUUID();', 'no-restricted-globals'],
  ['export const v9 = Math.random();', 'no-restricted-properties'],
  ['export const { random } = Math;', 'no-restricted-properties'],
  ['export const v10 = process.hrtime();', 'no-restricted-properties'],
  ['export const v11 = AbortSignal.timeout(5);', 'no-restricted-properties'],
  [`export { randomBytes } from 'node:crypto';`, 'no-restricted-imports'],
  [`export { randomUUID } from 'node:crypto';`, 'no-restricted-imports'],
  [`export * as hashes from 'node:crypto';`, 'no-restricted-imports'],
  [`export { setTimeout as sleep } from 'node:timers/promises';`, 'no-restricted-imports'],
  [`export { setTimeout as later } from 'node:timers';`, 'no-restricted-imports'],
  [`export { monitorEventLoopDelay } from 'node:perf_hooks';`, 'no-restricted-imports'],
];

const other: readonly (readonly [line: string, rule: string])[] = [
  ['export const w1 = (x: any) => String(x);', 'no-explicit-any'],
  ['export const w2 = () => { Promise.resolve(1); };', 'no-floating-promises'],
  ['const w3 = 1;', 'no-unused-vars'],
  [
    `export function w4(k: 'a' | 'b'): number { switch (k) { case 'a': return 1; } return 2; }`,
    'switch-exhaustiveness-check',
  ],
  [`import { Shape } from './shape.ts'; export const w5 = (x: Shape) => x;`, 'consistent-type-imports'],
  ['export default 1;', 'no-default-export'],
];

const blameless = `import { createHash } from 'node:crypto';
export interface Stay { readonly from: Date; readonly nights: Record<string, Date> }
export const nights = (stay: Stay): readonly Date[] => Object.values(stay.nights);
export const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
`;

const scratch = mkdtempSync(join(tmpdir(), 'godwit-lint-'));
let findings: readonly string[] = [];

interface Diagnostic {
  readonly code: string;
  readonly filename: string;
  readonly labels: readonly { readonly span: { readonly line: number } }[];
}

function write(path: string, text: string) {
  mkdirSync(dirname(join(scratch, path)), { recursive: true });
  writeFileSync(join(scratch, path), text);
}

/** What a finding is called in this file: where and by which rule. */
const at = (path: string, line: number, rule: string) => `${path}:${String(line)} ${rule}`;

describe('lint', () => {
  beforeAll(() => {
    write('.oxlintrc.json', readFileSync(join(repositoryTop, '.oxlintrc.json'), 'utf8'));
    write('tsconfig.json', readFileSync(join(repositoryTop, 'tsconfig.json'), 'utf8'));
    write('package.json', '{ "type": "module" }');
    symlinkSync(join(repositoryTop, 'node_modules'), join(scratch, 'node_modules'));
    const bad = timeAndChance.map(([line]) => `${line}\n`).join('');
    for (const path of ['src/bad.ts', 'machines/bad.ts', 'src/ports/free.ts', 'test/free.ts'])
      write(path, bad);
    write('src/other.ts', other.map(([line]) => `${line}\n`).join(''));
    write('src/shape.ts', 'export interface Shape { readonly size: number }\n');
    write('src/good.ts', blameless);
    const oxlint = join(repositoryTop, 'node_modules/.bin/oxlint');
    const { stdout } = spawnSync(oxlint, ['-f', 'json', 'src', 'machines', 'test'], {
      cwd: scratch,
      encoding: 'utf8',
    });
    const { diagnostics } = JSON.parse(stdout) as { readonly diagnostics: readonly Diagnostic[] };
    findings = diagnostics.map(({ code, filename, labels }) =>
      at(filename, labels[0]?.span.line ?? 0, /\((.*)\)/.exec(code)?.[1] ?? code),
    );
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it.each(timeAndChance.map(([line, rule], index) => ({ line, rule, index })))(
    'refuses in src and machines: $line',
    ({ rule, index }) => {
      expect(findings).toContain(at('src/bad.ts', index + 1, rule));
      expect(findings).toContain(at('machines/bad.ts', index + 1, rule));
    },
  );

  it.each(other.map(([line, rule], index) => ({ line, rule, index })))('refuses $line', ({ rule, index }) => {
    expect(findings).toContain(at('src/other.ts', index + 1, rule));
  });

  it('lets the ports and the tests ask for time and chance', () => {
    expect(
      findings.filter((finding) => finding.includes('free.ts') && finding.includes('restricted')),
    ).toEqual([]);
  });

  it('lets the type Date and hashing pass', () => {
    expect(findings.filter((finding) => finding.startsWith('src/good.ts'))).toEqual([]);
  });
});
