import { Command, CommanderError } from 'commander';
import { release } from '../release.ts';
import type { AddCommand } from './command.ts';
import { addApprove } from './commands/approve.ts';
import { addAudit } from './commands/audit.ts';
import { addCancel } from './commands/cancel.ts';
import { addLease } from './commands/lease.ts';
import { addMetrics } from './commands/metrics.ts';
import { addMigrate } from './commands/migrate.ts';
import { addPlan } from './commands/plan.ts';
import { addPause } from './commands/pause.ts';
import { addReset } from './commands/reset.ts';
import { addResume } from './commands/resume.ts';
import { addStatus } from './commands/status.ts';
import { addVerify } from './commands/verify.ts';
import { addWatch } from './commands/watch.ts';
import type { ExitCode } from './exit-codes.ts';
import { exitCodeMeanings, exitCodes } from './exit-codes.ts';
import { failureOf } from './failure.ts';
import type { Io } from './io.ts';
import { createOutput } from './output.ts';

/** In the order of the help. */
const commands: readonly AddCommand[] = [
  addMigrate,
  addPlan,
  addStatus,
  addWatch,
  addPause,
  addResume,
  addCancel,
  addReset,
  addApprove,
  addAudit,
  addMetrics,
  addLease,
  addVerify,
];

const about = `Migrations of Godwit's stores, for operators. They may run in other processes, on other machines.

Each flag with [env: …] may be set in the environment instead. A model is named by its name or its id.`;

/** The whole command line; docs/cli.md is checked against it. */
export function createProgram(io: Io, settle: (code: ExitCode) => void): Command {
  const program = new Command('godwit')
    .description(about)
    .version(release, '-V, --version')
    .showSuggestionAfterError(true)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      // Said once, in the form of all errors.
      outputError: () => undefined,
      getOutHelpWidth: () => io.stdout.columns ?? 100,
      getErrHelpWidth: () => io.stderr.columns ?? 100,
    });
  for (const add of commands) add(program, io, settle);
  const codes = Object.entries(exitCodeMeanings).map(
    ([code, meaning]) => `  ${code.padStart(3)}  ${meaning}`,
  );
  return program.addHelpText('after', `\nExit codes:\n${codes.join('\n')}`);
}

/** Runs one command line. Never rejects: what went wrong was told, and is in the code. */
export async function run(args: readonly string[], io: Io): Promise<ExitCode> {
  let code: ExitCode = exitCodes.done;
  const program = createProgram(io, (settled) => {
    code = settled;
  });
  try {
    await program.parseAsync(args, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.done;
      // Without a command the help was shown, which says it all.
      if (error.code === 'commander.help') return exitCodes.usage;
    }
    const failure = failureOf(error);
    createOutput(io, { json: args.includes('--json'), color: !args.includes('--no-color') }).failure(failure);
    return failure.exitCode;
  }
}
