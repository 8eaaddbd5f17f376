/**
 * `npm run api`: builds the declarations and writes `docs/api.md`, every exported name of every entry point with its type,
 * so that a change of the public API shows in review. `npm run api -- --check` only compares, and fails where they differ.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { repositoryTop } from './architecture.ts';

interface Declared {
  readonly name: string;
  readonly text: string;
}

const page = join(repositoryTop, 'docs/api.md');
const head = `# The public API

Every exported name with its type, as the compiler sees it: what a release promises. Written by \`npm run api\`; \`npm run check:package\` fails where it is out of date. What each is for stands in the docstrings, which editors show.
`;

const statement =
  /^(?:export )?(?:declare )?(?:abstract )?(?:interface|type|class|function|const|enum) ([A-Za-z_$][\w$]*)/;
const reexport = /^export (?:type )?(?:\*|\{([^}]*)\}) from '([^']+)';$/;

/** Top-level statements of a declaration file, without comments. The compiler begins each at the margin. */
function statementsOf(file: string): readonly string[] {
  const source = readFileSync(file, 'utf8').replaceAll(/\/\*[\s\S]*?\*\//g, '');
  return source
    .split(/\n(?=[a-z])/)
    .map((text) => text.replaceAll(/^\s*\n/gm, '').trim())
    .filter((text) => text !== '');
}

/** What a file exports, by name, wherever it is declared. */
function exportsOf(file: string): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  const own = new Map<string, string[]>();
  for (const text of statementsOf(file)) {
    const again = reexport.exec(text.replaceAll('\n', ' '));
    if (again !== null) {
      const [, names, from = ''] = again;
      const other = exportsOf(join(dirname(file), from.replace(/\.(?:ts|js)$/, '.d.ts')));
      const wanted = names === undefined ? [...other.keys()] : names.split(',').map((name) => name.trim());
      for (const name of wanted.filter((one) => one !== '')) {
        const [original = '', renamed = original] = name.replace(/^type /, '').split(' as ');
        const declared = other.get(original);
        if (declared === undefined) throw new Error(`${file} exports ${name}, which ${from} does not have`);
        found.set(renamed, declared);
      }
      continue;
    }
    const [, name] = statement.exec(text) ?? [];
    // Overloads of a function are statements of one name.
    if (name !== undefined && text.startsWith('export ')) own.set(name, [...(own.get(name) ?? []), text]);
  }
  return new Map([...found, ...own]);
}

function declaredIn(file: string): readonly Declared[] {
  return [...exportsOf(file)]
    .map(([name, texts]) => ({ name, text: texts.join('\n') }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

async function writeReport(dist: string): Promise<string> {
  const { exports, name } = JSON.parse(readFileSync(join(repositoryTop, 'package.json'), 'utf8')) as {
    readonly name: string;
    readonly exports: Readonly<Record<string, string | { readonly types: string }>>;
  };
  const parts = [head];
  /** By declaration, the entry point that was first to show it. */
  const shown = new Map<string, string>();
  const entries = Object.entries(exports).toReversed();
  for (const [path, target] of entries) {
    if (typeof target === 'string') continue;
    const entry = path.replace('.', name);
    const declared = declaredIn(join(dist, target.types.replace('./dist/', '')));
    const fresh = declared.filter(({ text }) => !shown.has(text));
    parts.push(`## \`${entry}\`\n`, '```ts', fresh.map(({ text }) => text).join('\n\n'), '```\n');
    for (const other of new Set(shown.values())) {
      const names = declared.filter(({ text }) => shown.get(text) === other).map((one) => `\`${one.name}\``);
      if (names.length > 0) parts.push(`From \`${other}\`: ${names.join(', ')}.\n`);
    }
    for (const { text } of fresh) shown.set(text, entry);
  }
  const config = await resolveConfig(page);
  return format(parts.join('\n'), { ...config, parser: 'markdown' });
}

const dist = mkdtempSync(join(tmpdir(), 'godwit-api-'));
try {
  const compiler = join(repositoryTop, 'node_modules/typescript/bin/tsc');
  const options = ['-p', 'tsconfig.build.json', '--outDir', dist, '--emitDeclarationOnly', '--declaration'];
  execFileSync(process.execPath, [compiler, ...options, '--sourceMap', 'false', '--inlineSources', 'false'], {
    cwd: repositoryTop,
    stdio: 'inherit',
  });
  const report = await writeReport(dist);
  if (!process.argv.includes('--check')) writeFileSync(page, report);
  else if (readFileSync(page, 'utf8') === report) console.log('docs/api.md is what the compiler sees');
  else {
    console.error('docs/api.md is out of date: run `npm run api`, and look at what changed');
    process.exitCode = 1;
  }
} finally {
  rmSync(dist, { recursive: true, force: true });
}
