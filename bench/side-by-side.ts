import { join } from 'node:path';
import { compareCodec } from './codec.ts';
import type { Comparison } from './compare.ts';
import type { OpenedModels } from './open-models.ts';
import { measureOpening } from './open-models.ts';
import { compareRequests } from './requests.ts';

/** What a child process that compares small things is to do, as its one argument. */
export interface SideBySideTask {
  /** Empty, and the child's own. */
  readonly directory: string;
  readonly rounds: number;
}

export interface SideBySideReport {
  readonly opened: readonly OpenedModels[];
  readonly requests: readonly Comparison[];
  readonly codec: readonly Comparison[];
}

const [argument] = process.argv.slice(2);
if (argument === undefined) throw new Error('a child is given its task as JSON');
const { directory, rounds } = JSON.parse(argument) as SideBySideTask;
const report: SideBySideReport = {
  opened: await measureOpening(join(directory, 'open'), rounds),
  requests: await compareRequests(join(directory, 'requests'), rounds),
  codec: await compareCodec(rounds),
};
process.send?.(report);
process.disconnect?.();
