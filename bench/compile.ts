import { execFileSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const top = fileURLToPath(new URL('..', import.meta.url));

/** Compiles sources and bench into a directory, as a build does, with this repository's packages beside it; answers where the bench is. */
export function compile(directory: string): string {
  const config = {
    extends: join(top, 'tsconfig.build.json'),
    compilerOptions: {
      rootDir: top,
      outDir: join(directory, 'dist'),
      typeRoots: [join(top, 'node_modules/@types')],
      declaration: false,
    },
    include: ['src', 'machines', 'workers', 'bench'].map((name) => join(top, name)),
  };
  const file = join(directory, 'tsconfig.json');
  writeFileSync(file, JSON.stringify(config));
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  symlinkSync(join(top, 'node_modules'), join(directory, 'node_modules'));
  execFileSync(join(top, 'node_modules/.bin/tsc'), ['-p', file], { stdio: 'inherit' });
  return join(directory, 'dist/bench');
}

/** Versions and processor, for the head of a report. */
export function describeMachine(): string {
  const packageOf = (name: string) =>
    (JSON.parse(readFileSync(join(top, 'node_modules', name, 'package.json'), 'utf8')) as { version: string })
      .version;
  const packages = ['lmdb', 'msgpackr', 'piscina', 'xstate'].map((name) => `${name} ${packageOf(name)}`);
  return (
    `node ${process.version}, ${packages.join(', ')}\n` +
    `${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown processor'}, ${process.platform}`
  );
}
