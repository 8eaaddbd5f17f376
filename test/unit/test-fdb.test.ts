import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import config from '../../.config/vitest.fdb.ts';
import { repositoryTop } from '../../.scripts/architecture.ts';

const { include = [], exclude = [] } = config.test ?? {};

const matches = (path: string, glob: string) =>
  new RegExp(
    `^${glob
      .replaceAll('.', '\\.')
      .replace(/\*\*\/|\*/g, (stars) => (stars === '*' ? '[^/]*' : '(?:[^/]+/)*'))}$`,
    'u',
  ).test(path);

const tests = ['conformance', 'integration', 'cluster'].flatMap((folder) =>
  readdirSync(join(repositoryTop, 'test', folder))
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `test/${folder}/${name}`),
);
const selected = tests.filter(
  (path) => include.some((glob) => matches(path, glob)) && !exclude.some((glob) => matches(path, glob)),
);

/** Options are refused before the database is opened; only the embedded engine can be told to be wrong. */
const opensItsOwn = new Set([
  'test/conformance/foundationdb.test.ts',
  'test/integration/migration-preflight.test.ts',
  'test/cluster/kv-shared-directory.test.ts',
]);

/** Whatever this run itself is told. */
const nothingSet = { FDB_CLUSTER_FILE: '', GODWIT_TEST_DATABASE: '', GODWIT_TEST_RUN: '', NO_COLOR: '1' };

const run = (environment: NodeJS.ProcessEnv, ...args: readonly string[]) => {
  const vitest = join(repositoryTop, 'node_modules/vitest/vitest.mjs');
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [vitest, 'run', '--config', '.config/vitest.fdb.ts', ...args],
    { cwd: repositoryTop, env: { ...process.env, ...nothingSet, ...environment }, encoding: 'utf8' },
  );
  return { status, stdout, stderr };
};

// It starts vitest: generous, for a machine that does something else too.
describe('npm run test:fdb', { timeout: 120_000 }, () => {
  it('says what to set where no cluster is named, and fails at once', () => {
    const { status, stdout, stderr } = run({});
    expect(status).toBe(1);
    expect(stdout).not.toContain('test/');
    expect(stderr).toMatch(
      /^npm run test:fdb needs a FoundationDB cluster: set FDB_CLUSTER_FILE .+docker compose up/,
    );
  });

  it('says which cluster file is not there', () => {
    const { status, stderr } = run({ FDB_CLUSTER_FILE: 'no-such.cluster' });
    expect(status).toBe(1);
    expect(stderr).toContain('there is no cluster file no-such.cluster');
  });

  it('leaves nothing behind', () => {
    const { status, stdout } = run(
      { GODWIT_TEST_DATABASE: 'fake' },
      'test/integration/requests-stored.test.ts',
    );
    expect(stdout).toMatch(/Tests +\d+ passed/);
    expect(stdout).toMatch(/Nothing is left of the run godwit-test-run-[0-9a-f]{12}\.\n/);
    expect(status).toBe(0);
  });

  it('leaves out only what is there, and runs the rest', () => {
    expect(exclude.filter((glob) => !tests.some((path) => matches(path, glob)))).toEqual([]);
    expect(selected).toEqual(
      expect.arrayContaining([
        'test/conformance/foundationdb.test.ts',
        'test/integration/crash-matrix.test.ts',
        'test/cluster/kill-migration.test.ts',
        'test/cluster/two-processes.test.ts',
      ]),
    );
  });

  it('runs no test that opens a database of its own: that would say nothing of the cluster', () => {
    const own = /\bopen(?:Memory|Embedded)Database\b|[`']embedded:|'memory:'/;
    const found = selected.filter((path) => own.test(readFileSync(join(repositoryTop, path), 'utf8')));
    expect(found.filter((path) => !opensItsOwn.has(path))).toEqual([]);
  });
});
