import { execFile } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { buildPackageInto } from '../rig/built-package.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

interface Loaded {
  readonly packages: readonly string[];
  /** Files of the built package, from its `dist` on. */
  readonly own: readonly string[];
}

const directory = createTemporaryDirectory('imports');

beforeAll(async () => {
  await buildPackageInto(directory.path);
  cpSync(join(repositoryTop, 'test/package/imports'), directory.path, { recursive: true });
}, 60_000);

afterAll(() => {
  directory.remove();
});

/** Runs a program of test/package/imports with plain Node: what it prints. */
async function run(...args: readonly string[]): Promise<unknown> {
  const env = { PATH: process.env['PATH'], NO_COLOR: '1' };
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: directory.path, env });
  return JSON.parse(stdout);
}

describe('the built package', () => {
  it.each(['import', 'require'])('loads no other package by %s, until a store is opened', async (way) => {
    const { imported, opened } = (await run('list.js', way)) as Record<'imported' | 'opened', Loaded>;
    expect(imported.packages).toEqual(['godwit']);
    expect(imported.own).toContain('src/store/on-demand.js');
    expect(imported.own).not.toContain('src/store/opened.js');
    expect(opened.packages).toEqual(expect.arrayContaining(['msgpackr', 'xstate']));
    expect(opened.own).toContain('src/store/opened.js');
  });

  it('leaves to their users what only some need', async () => {
    const { opened } = (await run('list.js', 'import')) as Record<'opened', Loaded>;
    const others = ['pino', 'piscina', 'prom-client', 'nats', 'lmdb', 'foundationdb'];
    expect(opened.packages.filter((name) => others.includes(name))).toEqual([]);
  });

  it('says so where it cannot be loaded when it is needed, and tries again', async () => {
    expect(await run('broken.js')).toEqual(['RUNTIME_NOT_LOADED', 'opened', 'DATABASE_INVALID']);
  });
});
