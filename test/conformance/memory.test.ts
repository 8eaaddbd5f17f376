import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import { describeKeyValueConformance } from './kv-suite.ts';

const openWith = async (options: Parameters<typeof openMemoryDatabase>[0]) => {
  const database = openMemoryDatabase(options);
  return { database, dispose: () => database.close() };
};

describeKeyValueConformance({
  name: 'memory',
  open: () => openWith({}),
  openWithClock: (clock) => openWith({ clock }),
});
