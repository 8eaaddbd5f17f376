import { openFoundationDB } from '../../src/kv/foundationdb/open.ts';
import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { createFakeFoundationDB, someClusterFile, sourceOf } from '../rig/fake-foundationdb.ts';
import { openAddress, sharedAddress } from '../rig/test-place.ts';
import { describeKeyValueConformance } from './kv-suite.ts';

/** The driver over a client that behaves as the C client does; over a real one where FDB_CLUSTER_FILE is set. */
const openOverFake = async (clock?: Clock) => {
  const memory = openMemoryDatabase({ clock });
  const fake = createFakeFoundationDB(memory);
  const database = await openFoundationDB({
    clock,
    source: sourceOf(fake),
    files: someClusterFile,
  });
  return {
    database,
    dispose: async () => {
      await database.close();
      await memory.close();
    },
  };
};

if (sharedAddress !== undefined) {
  describeKeyValueConformance({
    name: sharedAddress.startsWith('fdb:') ? 'foundationdb' : 'the database of all tests',
    open: async () => {
      const database = await openAddress(sharedAddress ?? '');
      return { database, dispose: () => database.close() };
    },
  });
}

describeKeyValueConformance({
  name: 'foundationdb, over a client without a cluster',
  open: () => openOverFake(),
  openWithClock: (clock) => openOverFake(clock),
});
