import { isMetadataVersionKey, KeyValueError, KeyValueErrorCode as Code, keyValueLimits } from '../kv.ts';
import { endOfKeys, keyFromBytes, type Key } from './keys.ts';
import { versionstampBytes } from './versionstamp.ts';

/** A key to read: the one that is FoundationDB's and for everybody is among them. */
export function requireReadKey(bytes: Uint8Array): Key {
  return isMetadataVersionKey(bytes) ? keyFromBytes(bytes) : requireKey(bytes);
}

/** A key to set or change: that one takes a versionstamp only, in an operation of its own. */
export function requireWriteKey(bytes: Uint8Array): Key {
  if (isMetadataVersionKey(bytes)) throw new KeyValueError(Code.clientInvalidOperation);
  return requireKey(bytes);
}

/** A key to read or write. Fails with 2102 (too long) and 2004 (reserved). */
export function requireKey(bytes: Uint8Array): Key {
  if (bytes.length > keyValueLimits.keyBytes) throw new KeyValueError(Code.keyTooLarge);
  if (bytes[0] === 0xff) throw new KeyValueError(Code.keyOutsideLegalRange);
  return keyFromBytes(bytes);
}

/** An end of a range: may be a byte longer than a key, what follows one, and may be the end of all keys. */
export function requireRangeEnd(bytes: Uint8Array): Key {
  if (bytes.length > keyValueLimits.keyBytes + 1) throw new KeyValueError(Code.keyTooLarge);
  const key = keyFromBytes(bytes);
  if (key > endOfKeys) throw new KeyValueError(Code.keyOutsideLegalRange);
  return key;
}

/** A copy that stays as it is, whatever the caller does with its buffer. Fails with 2103. */
export function requireValue(bytes: Uint8Array): Buffer {
  if (bytes.length > keyValueLimits.valueBytes) throw new KeyValueError(Code.valueTooLarge);
  return Buffer.from(bytes);
}

/** Ten bytes must fit in from `offset` on. */
export function requireStampOffset(bytes: Uint8Array, offset: number): void {
  if (Number.isInteger(offset) && offset >= 0 && offset + versionstampBytes <= bytes.length) return;
  throw new KeyValueError(Code.clientInvalidOperation, {
    message: `a versionstamp of 10 bytes does not fit at offset ${offset}`,
  });
}
