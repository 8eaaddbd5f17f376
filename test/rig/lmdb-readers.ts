import type { RootDatabase } from 'lmdb';

export interface Reader {
  readonly pid: number;
  /** The LMDB transaction whose pages it pins. */
  readonly pins: number;
}

/** Readers that hold a snapshot, in all processes, dead ones too. LMDB's list says `-` for a slot that pins nothing. */
export function pinningReaders(environment: RootDatabase): Reader[] {
  const lines = environment.readerList().split('\n');
  return lines.flatMap((line) => {
    const [, pid, pins] = /^\s*(\d+)\s+[0-9a-f]+\s+(\d+)\s*$/u.exec(line) ?? [];
    return pins === undefined ? [] : [{ pid: Number(pid), pins: Number(pins) }];
  });
}
