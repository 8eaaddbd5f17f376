import { open } from 'lmdb';

/** With the settings of the engine (src/kv/embedded/tables.ts) and nothing above them. */
export function openBare(directory: string) {
  const environment = open({
    path: directory,
    maxDbs: 4,
    pageSize: 4_096,
    noSubdir: false,
    cache: false,
    overlappingSync: false,
  });
  const data = environment.openDB<Buffer, Buffer>({
    name: 'data',
    keyEncoding: 'binary',
    encoding: 'binary',
    cache: false,
  });
  return { environment, data };
}
