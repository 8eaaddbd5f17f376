import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';

const allowedAtTheTop =
  /^(package\.json|package-lock\.json|tsconfig.*\.json|src|machines|workers|test|docker-compose\.yml|README\.md|bench|examples|docs|LICENSE|CHANGELOG\.md|\..+)$/;

/** Made by installing, building and measuring; not committed. */
const madeHere = new Set(['node_modules', 'dist', 'coverage']);

/** Beyond this a file holds two concepts. */
const maxLines = 450;

const read = (path: string) => readFileSync(join(repositoryTop, path), 'utf8');

/** Files that are committed or about to be. Where there is no repository (a scratch copy): all files. */
const files = existsSync(join(repositoryTop, '.git')) ? committedFiles() : filesBelow('');

function committedFiles(): readonly string[] {
  const command = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const listed = execFileSync('git', command, { cwd: repositoryTop, encoding: 'utf8' }).split('\0');
  return listed.filter((path) => path !== '' && existsSync(join(repositoryTop, path)));
}

function filesBelow(folder: string): readonly string[] {
  return readdirSync(join(repositoryTop, folder), { withFileTypes: true })
    .filter(({ name }) => !madeHere.has(name))
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      return entry.isDirectory() ? filesBelow(path) : [path];
    });
}

describe('the repository', () => {
  it('has nothing at the top level but what belongs there', () => {
    const names = readdirSync(repositoryTop).filter((name) => !madeHere.has(name));
    expect(names.filter((name) => !allowedAtTheTop.test(name))).toEqual([]);
  });

  it('names no package registry', () => {
    const registry = /registry\.(npmjs|yarnpkg)\.|"resolved": "http|^\s*(?:@[\w-]+:)?registry\s*=/m;
    expect(files.filter((path) => registry.test(read(path)) && !path.endsWith('repository.test.ts'))).toEqual(
      [],
    );
  });

  it('names no place of the machine that it was written on', () => {
    const machinePath = /(?:^|[\s'"`(=:])\/(?:home|Users|root|work|workspace|mnt)\/[\w.-]/m;
    expect(files.filter((path) => machinePath.test(read(path)))).toEqual([]);
  });

  it(`keeps every file of src, machines and workers within ${String(maxLines)} lines`, () => {
    const long = files
      .filter((path) => /^(src|machines|workers)\/.*\.ts$/.test(path))
      .filter((path) => read(path).split('\n').length - 1 > maxLines);
    expect(long).toEqual([]);
  });

  it.each(['', 'bench/peers/'])('pins every dependency of %spackage.json to one version', (folder) => {
    const { dependencies, devDependencies } = packageJson(folder);
    const versions = Object.entries({ ...dependencies, ...devDependencies });
    expect(versions).not.toEqual([]);
    expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });

  it.each(['', 'bench/peers/'])(
    'locks each package in %spackage-lock.json with its version, for every platform',
    (folder) => {
      const lock = JSON.parse(read(`${folder}package-lock.json`)) as Lock;
      const missing = Object.entries(lock.packages).flatMap(([place, entry]) =>
        Object.keys(entry.optionalDependencies ?? {}).filter(
          (name) =>
            lock.packages[`node_modules/${name}`] === undefined &&
            lock.packages[`${place}/node_modules/${name}`] === undefined,
        ),
      );
      expect(missing).toEqual([]);
      expect(Object.entries(lock.packages).filter(([, entry]) => entry.version === undefined)).toEqual([]);
    },
  );

  it('has every npm script that the README names', () => {
    const named = [...read('README.md').matchAll(/npm (?:run(?:-script)? ([\w:-]+)|(test|start))/g)].map(
      ([, script, short]) => script ?? short,
    );
    expect(named).toEqual(expect.arrayContaining(['start', 'test']));
    const { scripts } = packageJson();
    expect(named.filter((name) => name === undefined || scripts[name] === undefined)).toEqual([]);
  });
});

interface Package {
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>> | undefined;
}

interface Lock {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly version?: string | undefined;
        readonly optionalDependencies?: Readonly<Record<string, string>> | undefined;
      }
    >
  >;
}

function packageJson(folder = ''): Package {
  return JSON.parse(read(`${folder}package.json`)) as Package;
}
