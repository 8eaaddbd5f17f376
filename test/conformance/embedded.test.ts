import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';
import { describeKeyValueConformance } from './kv-suite.ts';

const openWith = async (clock?: Clock) => {
  const directory = createTemporaryDirectory('kv');
  const database = await openEmbeddedDatabase({ directory: directory.path, clock });
  return {
    database,
    dispose: async () => {
      await database.close();
      directory.remove();
    },
  };
};

describeKeyValueConformance({
  name: 'embedded',
  open: () => openWith(),
  openWithClock: (clock) => openWith(clock),
});
