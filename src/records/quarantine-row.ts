import { Packr } from 'msgpackr';
import type { ErrorCode } from '../errors.ts';
import { setPartCount } from './record-rows.ts';

/** A record in quarantine: its bytes as they were stored, and why it is there. It lies under its old key. */
export interface QuarantineRow {
  readonly code: ErrorCode;
  readonly message: string;
  readonly bytes: Uint8Array;
}

const packr = new Packr({ useRecords: false });

/** The only format so far, and the number of parts: as in a record. */
const header = Buffer.of(1, 1);

export function encodeQuarantineRow({ code, message, bytes }: QuarantineRow): Buffer {
  const row = Buffer.concat([header, packr.pack({ code, message, bytes })]);
  setPartCount(row);
  return row;
}

/** The row's bytes share the memory of what is passed. */
export function decodeQuarantineRow(row: Uint8Array): QuarantineRow {
  return packr.unpack(row.subarray(header.length)) as QuarantineRow;
}
