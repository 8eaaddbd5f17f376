import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { StorageException } from '../../errors.ts';

/** Format of the directory; grows when an older release could not read it. */
const directoryFormat = 1;
const engineName = 'godwit-embedded';
const markerName = 'godwit.json';

/** File systems over a network, by the magic numbers of statfs(2): memory maps are not coherent between machines. */
const networkFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
  [0x5346414f, 'AFS'],
]);

/**
 * Refuses what no store was ever opened in, and leaves it as it is.
 *
 * @throws StorageException STORE_MISSING, ENGINE_DIRECTORY_INVALID, STORAGE_FORMAT_NEWER
 */
export function requireDirectory(directory: string): void {
  if (isPrepared(directory)) return;
  throw new StorageException('STORE_MISSING', `There is no database of this engine in '${directory}'.`, {
    details: { directory },
  });
}

/**
 * Makes sure that `directory` exists, can be written and is ours, and marks it as such if it is new.
 *
 * @throws StorageException ENGINE_DIRECTORY_INVALID, STORAGE_FORMAT_NEWER
 */
export function prepareDirectory(directory: string, uniqueId: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    throw invalidDirectory(directory, `cannot be created (${messageOf(error)})`, error);
  }
  refuseUnfit(directory);
  if (!readMarker(directory)) mark(directory, uniqueId);
}

/**
 * Whether a database was begun in `directory`. Makes nothing, and refuses what `prepareDirectory` refuses.
 *
 * @throws StorageException ENGINE_DIRECTORY_INVALID, STORAGE_FORMAT_NEWER
 */
export function isPrepared(directory: string): boolean {
  if (!existsSync(directory)) return false;
  refuseUnfit(directory);
  if (readMarker(directory)) return true;
  refuseForeign(directory);
  return false;
}

function refuseUnfit(directory: string): void {
  if (!statSync(directory).isDirectory()) throw invalidDirectory(directory, 'is not a directory');
  try {
    accessSync(directory, constants.R_OK | constants.X_OK);
  } catch (error) {
    throw invalidDirectory(directory, 'cannot be read', error);
  }
  try {
    accessSync(directory, constants.W_OK);
  } catch (error) {
    throw invalidDirectory(directory, 'is read-only: the engine has to write, even to read', error);
  }
  const network = networkFileSystems.get(statfsSync(directory).type);
  if (network !== undefined) throw invalidDirectory(directory, `is on a network file system (${network})`);
}

function mark(directory: string, uniqueId: string): void {
  refuseForeign(directory);
  const marker = { engine: engineName, format: directoryFormat };
  const temporary = join(directory, `${markerName}.${uniqueId}`);
  try {
    writeFileSync(temporary, `${JSON.stringify(marker)}\n`);
    renameSync(temporary, join(directory, markerName));
  } catch (error) {
    rmSync(temporary, { force: true });
    throw directoryError(directory, error);
  }
}

function refuseForeign(directory: string): void {
  const foreign = readdirSync(directory).find((name) => !name.startsWith(markerName));
  // Another process may have marked and filled it between the two looks.
  if (foreign !== undefined && !readMarker(directory)) {
    throw invalidDirectory(directory, `is not empty and was not made by this engine (it has '${foreign}')`);
  }
}

function readMarker(directory: string): boolean {
  let text: string;
  try {
    text = readFileSync(join(directory, markerName), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw invalidDirectory(directory, `has an unreadable ${markerName}`, error);
  }
  const format = formatOf(text);
  if (format === undefined)
    throw invalidDirectory(directory, `has a ${markerName} that is not this engine's`);
  if (format > directoryFormat) {
    throw new StorageException(
      'STORAGE_FORMAT_NEWER',
      `The directory '${directory}' has format ${format}; this release reads up to ${directoryFormat}.`,
      { details: { format, readable: directoryFormat } },
    );
  }
  return true;
}

function formatOf(text: string): number | undefined {
  try {
    const marker: unknown = JSON.parse(text);
    if (typeof marker !== 'object' || marker === null) return undefined;
    if (!('engine' in marker) || marker.engine !== engineName || !('format' in marker)) return undefined;
    return typeof marker.format === 'number' ? marker.format : undefined;
  } catch {
    return undefined;
  }
}

/** What an operation of the file system or LMDB failed with, in its own words. */
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** What opening fails with where the disk is full, or the files do not do what they should. */
export function directoryError(directory: string, error: unknown): StorageException {
  if (error instanceof StorageException) return error;
  return invalidDirectory(directory, `cannot be written (${messageOf(error)})`, error);
}

export function invalidDirectory(directory: string, what: string, cause?: unknown): StorageException {
  return new StorageException('ENGINE_DIRECTORY_INVALID', `The directory '${directory}' ${what}.`, { cause });
}
