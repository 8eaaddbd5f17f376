import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { repositoryTop } from '../../.scripts/architecture.ts';

const run = promisify(execFile);

/** Builds the package where programs in `directory` find it as `godwit`, as if it had been installed there. */
export async function buildPackageInto(directory: string): Promise<void> {
  const home = join(directory, 'node_modules/godwit');
  mkdirSync(home, { recursive: true });
  const compiler = join(repositoryTop, 'node_modules/typescript/bin/tsc');
  const options = ['-p', 'tsconfig.build.json', '--outDir', join(home, 'dist'), '--sourceMap', 'false'];
  await run(process.execPath, [compiler, ...options, '--inlineSources', 'false', '--declaration', 'false'], {
    cwd: repositoryTop,
  });
  copyFileSync(join(repositoryTop, 'package.json'), join(home, 'package.json'));
  symlinkSync(join(repositoryTop, 'node_modules'), join(home, 'node_modules'));
}
