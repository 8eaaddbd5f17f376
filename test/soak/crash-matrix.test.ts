import { beforeAll, expect, it } from 'vitest';
import { CrashMatrix, everyFault, matrixTimeoutMs } from '../rig/crash-points.ts';
import type { FaultKind } from '../rig/faulty-database.ts';

// The whole of it: `npm test` draws one of the two crashes at each read.
let matrix: CrashMatrix;
beforeAll(async () => {
  matrix = await CrashMatrix.create();
});

it.each<FaultKind>(['crashBefore', 'crashAfter', 'unknownApplied', 'unknownLost'])(
  'a migration is exact with %s at any database operation',
  async (kind) => {
    expect(await matrix.failuresOf(kind, everyFault)).toEqual([]);
  },
  matrixTimeoutMs,
);

it.each([0.2, 0.38, 0.7])(
  'a migration is exact when a process closes after %d of its operations, and dies while it does',
  async (share) => {
    expect(await matrix.failuresOfClosing(share, everyFault)).toEqual([]);
  },
  matrixTimeoutMs,
);
