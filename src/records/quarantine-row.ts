import { Packr } from 'msgpackr';
import type { ErrorCode } from '../errors.ts';

/** A record in quarantine: its bytes as they were stored, and why it is there. It lies under its old key. */
export interface QuarantineRow {
  readonly code: ErrorCode;
  readonly message: string;
  readonly bytes: Uint8Array;
}

const packr = new Packr({ useRecords: false });

export function encodeQuarantineRow({ code, message, bytes }: QuarantineRow): Buffer {
  return packr.pack({ code, message, bytes });
}

/** The row's bytes share the memory of what is passed. */
export function decodeQuarantineRow(row: Uint8Array): QuarantineRow {
  return packr.unpack(row) as QuarantineRow;
}
