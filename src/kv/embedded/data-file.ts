import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import type { StorageException } from '../../errors.ts';
import { systemProcess } from '../../ports/process.ts';
import { invalidDirectory } from './directory.ts';

const { bootId } = systemProcess.identity;

/**
 * LMDB's file as far as it can be looked at before LMDB opens it: `lmdb` ends the process when the file is not one of
 * LMDB's, and whoever reads a page behind the end of a file gets SIGBUS or zeros. Pages are described in LMDB's mdb.c
 * (MDB_page_header, MDB_meta, MDB_node, MDB_db): here for 64 bits, little-endian, Linux; elsewhere nothing is looked at.
 */
const canLook = bootId !== '' && endianness() === 'LE' && ['x64', 'arm64'].includes(process.arch);

const headerBytes = 24;
const metaFlag = 0x08;
const branchFlag = 0x01;
const leafFlag = 0x02;
const magic = 0xbeefc0de;
const dataVersion = 2;
/** Offsets in a page of metadata. */
const meta = {
  magic: 24,
  version: 28,
  pageBytes: 48,
  flags: 52,
  freeRoot: 88,
  mainRoot: 136,
  lastPage: 144,
  transaction: 152,
  boot: 160,
} as const;
const metaBytes = 168;
const unsyncedFlag = 0x1000;
const rootInTable = 40;
const bigDataFlag = 0x01;
const tableFlag = 0x02;
const nodeHeaderBytes = 8;
const noPage = 0xffff_ffff_ffff_ffffn;

/** Why the file cannot be LMDB's, or not all of it is there; undefined where it can. `isAlone`: nobody writes to it. */
function damageOf(directory: string, isAlone: () => boolean): string | undefined {
  if (!canLook) return undefined;
  let file: number;
  try {
    file = openSync(join(directory, 'data.mdb'), 'r');
  } catch (error) {
    // Not made yet; or LMDB will say why it cannot be opened either.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return lookAt(file, isAlone);
  } finally {
    closeSync(file);
  }
}

/** @throws StorageException ENGINE_DIRECTORY_INVALID */
export function refuseDamaged(directory: string, isAlone: () => boolean): void {
  let damage: string | undefined;
  try {
    damage = damageOf(directory, isAlone);
  } catch (error) {
    throw invalid(directory, 'cannot be read', error);
  }
  if (damage !== undefined) throw invalid(directory, damage);
}

function lookAt(file: number, isAlone: () => boolean): string | undefined {
  // A process that died between making the file and writing to it.
  if (fstatSync(file).size === 0) return undefined;
  const first = readAt(file, 0, metaBytes);
  if (first === undefined || !isMeta(first)) return 'is not LMDB’s, or its beginning is damaged';
  const pageBytes = first.readUInt32LE(meta.pageBytes);
  const second = readAt(file, pageBytes, metaBytes);
  if (second === undefined || !isMeta(second)) return 'is cut off, or its beginning is damaged';
  const flushed = readAt(file, pageBytes >> 1, metaBytes) ?? Buffer.alloc(metaBytes);
  const chosen = choose(choose(first, second), flushed);
  const pages = Math.floor(fstatSync(file).size / pageBytes);
  const isShort = chosen.readBigUInt64LE(meta.lastPage) >= pages;
  // Pages at the end may be free and never written: only those count that something leads to.
  if (!isShort || !isAlone() || isWhole(file, chosen, pageBytes, pages)) return undefined;
  // Somebody may have begun to write meanwhile.
  return isAlone() ? 'is cut off' : undefined;
}

function isMeta(page: Buffer): boolean {
  return (
    (page.readUInt16LE(18) & metaFlag) !== 0 &&
    page.readUInt32LE(meta.magic) === magic &&
    page.readUInt16LE(meta.version) === dataVersion
  );
}

/**
 * The page of metadata that lmdb goes by (mdb_pick_meta): the newest one, unless it was never synced and the kernel has
 * booted since; `right` may be the last one that was.
 */
function choose(left: Buffer, right: Buffer): Buffer {
  const leftId = left.readBigUInt64LE(meta.transaction);
  const rightId = right.readBigUInt64LE(meta.transaction);
  if (rightId === 0n) return left;
  const [newest, oldest] = leftId >= rightId ? [left, right] : [right, left];
  const isOfThisBoot = newest.readBigUInt64LE(meta.boot) === BigInt(`0x${bootId.split('-', 1)[0] ?? ''}`);
  return isOfThisBoot || (newest.readUInt16LE(meta.flags) & unsyncedFlag) === 0 ? newest : oldest;
}

/** Whether all pages that lead to data, and those of the data, lie within the file. */
function isWhole(file: number, found: Buffer, pageBytes: number, pages: number): boolean {
  const waiting = [found.readBigUInt64LE(meta.freeRoot), found.readBigUInt64LE(meta.mainRoot)];
  let looked = 0;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next === noPage) continue;
    if (++looked > pages) return false;
    const page = next < pages ? readAt(file, Number(next) * pageBytes, pageBytes) : undefined;
    if (page === undefined) return false;
    const flags = page.readUInt16LE(18);
    if ((flags & (branchFlag | leafFlag)) === 0) return false;
    // What a page says of itself counts from behind its header.
    const nodesEnd = headerBytes + page.readUInt16LE(20);
    for (let at = headerBytes; at < nodesEnd; at += 2) {
      const node = headerBytes + page.readUInt16LE(at);
      const nodeFlags = page.readUInt16LE(node + 4);
      const data = node + nodeHeaderBytes + page.readUInt16LE(node + 6);
      if ((flags & branchFlag) !== 0) {
        waiting.push(BigInt(page.readUInt32LE(node)) | (BigInt(nodeFlags) << 32n));
      } else if ((nodeFlags & tableFlag) !== 0) {
        waiting.push(page.readBigUInt64LE(data + rootInTable));
      } else if ((nodeFlags & bigDataFlag) !== 0) {
        const [begin, count] = [page.readBigUInt64LE(data), page.readBigUInt64LE(data + 16)];
        if (begin + count > pages) return false;
      }
    }
  }
  return true;
}

function readAt(file: number, offset: number, size: number): Buffer | undefined {
  const bytes = Buffer.alloc(size);
  return readSync(file, bytes, 0, size, offset) === size ? bytes : undefined;
}

function invalid(directory: string, what: string, cause?: unknown): StorageException {
  return invalidDirectory(directory, `has a file of data that ${what}; restore it from a backup`, cause);
}
