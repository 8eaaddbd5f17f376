import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rangeOf } from '../../src/records/keys.ts';
import { encodeTuple } from '../../src/records/tuple.ts';
import { createTemporaryDirectory } from './temporary-directory.ts';

/**
 * Around one run of `npm run test:fdb`: gives it a subspace that nobody else has, and demands that nothing is left there.
 * Each test file clears its own part, so what is left was written by somebody who should have ended by then.
 */
export default async function setup(): Promise<() => Promise<void>> {
  refuseWithoutCluster(process.env);
  const run = `godwit-test-run-${randomBytes(6).toString('hex')}`;
  process.env['GODWIT_TEST_RUN'] = run;
  const isCluster = (process.env['GODWIT_TEST_DATABASE'] ?? '') === '';
  const directory = isCluster ? undefined : createTemporaryDirectory('shared');
  if (directory !== undefined) process.env['GODWIT_TEST_DIRECTORY'] = directory.path;
  // It looks at the environment when it is loaded.
  const { openTestDatabase, sharedAddress = '' } = await import('./test-place.ts');
  // A cluster that does not answer is told at once, and not by every test.
  const database = await openTestDatabase(sharedAddress);
  // A directory is the run's alone: there, nothing may lie outside of its subspace either.
  const { begin, end } =
    directory === undefined ? rangeOf(encodeTuple([run])) : { begin: Buffer.alloc(0), end: Buffer.of(0xff) };
  return async () => {
    const left = await database.transact(async (tx) => {
      const pairs = await tx.getRangeAll(begin, end, { limit: 10 });
      tx.clearRange(begin, end);
      return pairs.map(({ key }) => key.toString('latin1'));
    });
    await database.close();
    directory?.remove();
    if (left.length === 0) console.log(`Nothing is left of the run ${run}.`);
    else
      throw new Error(
        `The run ${run} left keys behind: ${left.map((key) => JSON.stringify(key)).join(', ')}.`,
      );
  };
}

/** Before the first test: without a cluster, hundreds of them would say the same. */
function refuseWithoutCluster({
  FDB_CLUSTER_FILE: clusterFile = '',
  GODWIT_TEST_DATABASE: standIn = '',
}: NodeJS.ProcessEnv): void {
  if (standIn !== '' || existsSync(clusterFile)) return;
  console.error(
    clusterFile === ''
      ? 'npm run test:fdb needs a FoundationDB cluster: set FDB_CLUSTER_FILE to its cluster file. ' +
          '`docker compose up -d --wait` starts one; the README says how to name it.'
      : `npm run test:fdb needs a FoundationDB cluster: there is no cluster file ${clusterFile}, which FDB_CLUSTER_FILE names.`,
  );
  process.exit(1);
}
