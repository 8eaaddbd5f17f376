import type { KeyRange } from '../engine/conflict-set.ts';
import type { Key } from '../engine/keys.ts';
import { boundsOf, type CommittedWrites, type WriteSet } from '../engine/write-set.ts';

/**
 * A write set as bytes. Numbers of keys and ranges, the least and the greatest key, then the keys, each as what it
 * shares with the one before and the rest: neighbours share most, and the log costs a tenth of the data.
 */
export function encodeWriteSet({ keys, ranges }: WriteSet): Buffer {
  const { min, max } = boundsOf(keys, ranges);
  let size = 8 + 4 + min.length + max.length;
  for (const key of keys) size += 4 + key.length;
  for (const { begin, end } of ranges) size += 4 + begin.length + end.length;
  const bytes = Buffer.allocUnsafe(size);
  let at = bytes.writeUInt32BE(keys.length, 0);
  at = bytes.writeUInt32BE(ranges.length, at);
  const writeText = (text: string) => {
    at = bytes.writeUInt16BE(text.length, at);
    at += bytes.write(text, at, 'latin1');
  };
  writeText(min);
  writeText(max);
  let previous = '';
  for (const key of keys) {
    const shared = sharedLength(previous, key);
    at = bytes.writeUInt16BE(shared, at);
    writeText(key.slice(shared));
    previous = key;
  }
  for (const { begin, end } of ranges) {
    writeText(begin);
    writeText(end);
  }
  return bytes.subarray(0, at);
}

/** Decodes the bounds at once and the rest when somebody asks: most commits of others lie elsewhere. */
export function decodeWriteSet(version: number, bytes: Buffer): CommittedWrites {
  const keyCount = bytes.readUInt32BE(0);
  const rangeCount = bytes.readUInt32BE(4);
  const [min, afterMin] = readText(bytes, 8);
  const [max, start] = readText(bytes, afterMin);
  let decoded: WriteSet | undefined;
  const decode = () => (decoded ??= decodeRest(bytes, start, keyCount, rangeCount));
  return {
    maxVersion: version,
    size: keyCount + rangeCount,
    min,
    max,
    get keys() {
      return decode().keys;
    },
    get ranges() {
      return decode().ranges;
    },
  };
}

function decodeRest(bytes: Buffer, start: number, keyCount: number, rangeCount: number): WriteSet {
  const keys: Key[] = [];
  const ranges: KeyRange[] = [];
  let at = start;
  let previous = '';
  for (let index = 0; index < keyCount; index++) {
    const shared = bytes.readUInt16BE(at);
    const [rest, next] = readText(bytes, at + 2);
    previous = previous.slice(0, shared) + rest;
    keys.push(previous);
    at = next;
  }
  for (let index = 0; index < rangeCount; index++) {
    const [begin, afterBegin] = readText(bytes, at);
    const [end, afterEnd] = readText(bytes, afterBegin);
    ranges.push({ begin, end });
    at = afterEnd;
  }
  return { keys, ranges };
}

function readText(bytes: Buffer, at: number): [text: string, next: number] {
  const end = at + 2 + bytes.readUInt16BE(at);
  return [bytes.toString('latin1', at + 2, end), end];
}

function sharedLength(left: string, right: string): number {
  const limit = Math.min(left.length, right.length);
  let length = 0;
  while (length < limit && left.charCodeAt(length) === right.charCodeAt(length)) length++;
  return length;
}
