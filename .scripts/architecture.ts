/**
 * The direction of imports: one table of who may import whom, and the check that `npm run lint` makes of it.
 * Dependencies point one way: cli -> store -> migration -> records -> { model, kv } -> { ports, limits, errors }.
 */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';

export interface Layer {
  /** A folder, or a single file. The longest that holds a file is the file's layer. */
  readonly path: string;
  /** Layers it may import besides itself. */
  readonly mayImport: readonly string[];
  /** Layers of which it may import types alone. */
  readonly mayImportTypesOf?: readonly string[];
}

const ground = ['src/errors.ts', 'src/limits.ts', 'src/limits', 'src/ports'];
const data = ['src/records', 'src/model', 'src/kv', ...ground];
const runtime = ['src/migration', 'src/cluster', 'src/telemetry', 'machines', ...data];

export const layers: readonly Layer[] = [
  { path: 'src/errors.ts', mayImport: [] },
  { path: 'src/limits', mayImport: [] },
  { path: 'src/limits.ts', mayImport: ['src/limits'] },
  { path: 'src/release.ts', mayImport: [] },
  { path: 'src/ports', mayImport: ['src/errors.ts', 'src/limits.ts', 'src/limits'] },
  { path: 'src/kv', mayImport: ground },
  { path: 'src/model', mayImport: ground },
  { path: 'src/records', mayImport: ['src/model', 'src/kv', ...ground] },
  { path: 'src/telemetry', mayImport: ground },
  { path: 'src/cluster', mayImport: ground },
  {
    path: 'src/migration',
    mayImport: ['machines', 'src/cluster', 'src/telemetry', ...data],
    mayImportTypesOf: ['workers'],
  },
  { path: 'src/store', mayImport: ['src/release.ts', ...runtime] },
  { path: 'src/remote', mayImport: ['src/cluster', ...ground], mayImportTypesOf: ['src/migration'] },
  { path: 'src/nats.ts', mayImport: ['src/remote', 'src/cluster'], mayImportTypesOf: ['src/migration'] },
  { path: 'src/index.ts', mayImport: ['src/store', ...runtime] },
  { path: 'src/cli', mayImport: ['src/index.ts', 'src/store', 'src/remote', 'src/release.ts', ...runtime] },
  { path: 'machines', mayImport: [], mayImportTypesOf: ['src/migration', ...data] },
  { path: 'workers', mayImport: ['src/records', 'src/model', ...ground] },
];

/** Packages and the only places that may import them. What is not listed here is imported by nobody. */
export const packages: Readonly<Record<string, readonly string[]>> = {
  commander: ['src/cli'],
  foundationdb: ['src/kv/foundationdb'],
  lmdb: ['src/kv/embedded'],
  msgpackr: ['src/records'],
  nats: ['src/cluster/nats'],
  pino: ['src/telemetry'],
  piscina: ['src/ports/pool.ts', 'src/ports/hand-over.ts'],
  'prom-client': ['src/telemetry'],
  xstate: ['machines', 'src/migration'],
};

/** Entry points that a transform drags into every worker thread: nothing but this repository's pure files. */
export const pureEntryPoints = ['src/model/index.ts', 'src/model/transform.ts'];

/**
 * What a worker thread must never reach: native code there takes the whole process down. Piscina, which runs the threads, is
 * in each of them.
 */
export const forbiddenInWorkers = ['lmdb', 'foundationdb', 'nats', 'xstate'];

export interface Import {
  readonly from: string;
  /** A path from the top of the repository, or the name of a package. */
  readonly to: string;
  readonly kind: 'file' | 'package';
  readonly typeOnly: boolean;
}

const statement = /^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm;
const call = /^(?!\s*(?:\*|\/\/)).*?(\btypeof\s+)?\b(?:import|require)\(\s*'([^']+)'/gm;

/** The imports of one file, node's own modules left out. `file` is a path from the top of the repository. */
export function importsOf(file: string, source: string): readonly Import[] {
  return [statement, call].flatMap((pattern) =>
    [...source.matchAll(pattern)].flatMap(([, type, specifier = '']): Import[] => {
      if (specifier.startsWith('node:')) return [];
      const typeOnly = type !== undefined;
      if (specifier.startsWith('.')) {
        return [{ from: file, to: posix.join(posix.dirname(file), specifier), kind: 'file', typeOnly }];
      }
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');
      return [{ from: file, to: name, kind: 'package', typeOnly }];
    }),
  );
}

/** The imports of all files in src, machines and workers below `top`. */
export function importGraph(top: string): readonly Import[] {
  return ['src', 'machines', 'workers']
    .filter((folder) => existsSync(join(top, folder)))
    .flatMap((folder) => readdirSync(join(top, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .flatMap((entry) => {
      const path = join(entry.parentPath, entry.name);
      return importsOf(relative(top, path).split(sep).join('/'), readFileSync(path, 'utf8'));
    });
}

/** One sentence for each import that the tables above do not allow. */
export function violations(graph: readonly Import[]): readonly string[] {
  return graph.flatMap((edge) => {
    const wrong = edge.kind === 'package' ? wrongPackage(edge) : wrongFile(edge);
    return wrong === undefined ? [] : [wrong];
  });
}

function wrongPackage({ from, to }: Import): string | undefined {
  const places = packages[to];
  if (places === undefined) return `${from} imports ${to}, which no file may import`;
  if (places.some((place) => from.startsWith(place))) return undefined;
  return `${from} imports ${to}, which is for ${places.join(' and ')} alone`;
}

function wrongFile({ from, to, typeOnly }: Import): string | undefined {
  const own = layerOf(from);
  const target = layerOf(to);
  if (own === undefined) return `${from} belongs to no layer: add its folder to the table of layers`;
  if (target === undefined) return `${from} imports ${to}, which belongs to no layer`;
  if (own === target || own.mayImport.includes(target.path)) return undefined;
  if (typeOnly && own.mayImportTypesOf?.includes(target.path) === true) return undefined;
  return `${from} imports ${to}: ${own.path} may not import ${target.path}`;
}

function layerOf(file: string): Layer | undefined {
  return layers
    .filter(({ path }) => file === path || file.startsWith(`${path}/`))
    .toSorted((a, b) => b.path.length - a.path.length)[0];
}

/** Every file and package that loading `entry` loads: what is imported as a type is not there at run time. */
export function reachableFrom(entry: string, graph: readonly Import[]): ReadonlySet<string> {
  const reached = new Set([entry]);
  for (const place of reached) {
    for (const edge of graph) if (edge.from === place && !edge.typeOnly) reached.add(edge.to);
  }
  return reached;
}

/** The top of the repository that this file belongs to. */
export const repositoryTop = dirname(import.meta.dirname);
