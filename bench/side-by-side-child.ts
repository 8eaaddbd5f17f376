import { compareCodec } from './codec.ts';
import type { Comparison } from './compare.ts';
import { compareRequests } from './requests.ts';
import { answer, readTask } from './run-child.ts';

/** What a child process that compares small things is to do. */
export interface SideBySideTask {
  /** Empty, and the child's own. */
  readonly directory: string;
  readonly rounds: number;
}

export interface SideBySideReport {
  readonly requests: readonly Comparison[];
  readonly codec: readonly Comparison[];
}

const { directory, rounds } = readTask<SideBySideTask>();
const report: SideBySideReport = {
  requests: await compareRequests(directory, rounds),
  codec: await compareCodec(rounds),
};
answer(report);
