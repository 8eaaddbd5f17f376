import type { Clock } from '../../ports/clock.ts';
import type { KeyRange } from './conflict-set.ts';
import type { Key } from './keys.ts';

/** 8 bytes of commit version and 2 bytes of order within the batch, both big-endian. */
export const versionstampBytes = 10;

/** `order`: 0 to 65,535. */
export function encodeVersionstamp(version: number, order: number): Buffer {
  const stamp = Buffer.alloc(versionstampBytes);
  stamp.writeBigUInt64BE(BigInt(version));
  stamp.writeUInt16BE(order, 8);
  return stamp;
}

export function stampKey(key: Buffer, offset: number, versionstamp: Buffer): Key {
  return stampValue(key, offset, versionstamp).toString('latin1');
}

export function stampValue(value: Buffer, offset: number, versionstamp: Buffer): Buffer {
  const stamped = Buffer.from(value);
  stamped.set(versionstamp, offset);
  return stamped;
}

/** From the first to behind the last key that may come out. */
export function stampKeyRange(key: Buffer, offset: number): KeyRange {
  const begin = stampKey(key, offset, Buffer.alloc(versionstampBytes, 0));
  const last = stampKey(key, offset, Buffer.alloc(versionstampBytes, 0xff));
  return { begin, end: `${last}\0` };
}

/**
 * Version of the commit after `last`: microseconds since 1970, about a million a second as in FoundationDB. The wall
 * clock is a floor only; versions grow whatever it does.
 */
export function nextVersion(last: number, clock: Clock): number {
  return Math.max(last + 1, Math.floor(clock.wallMs() * 1_000));
}
