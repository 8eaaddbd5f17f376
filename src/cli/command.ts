import type { Command } from 'commander';
import type { ExitCode } from './exit-codes.ts';
import type { CommonFlags } from './flags.ts';
import { addCommonFlags } from './flags.ts';
import type { Io } from './io.ts';
import type { Output } from './output.ts';
import { createOutput } from './output.ts';

/** What a command works with. */
export interface CommandContext<Flags> {
  readonly io: Io;
  readonly out: Output;
  readonly flags: Flags;
  /** In the order of the command's arguments; those that were left out are undefined. */
  readonly args: readonly (string | undefined)[];
}

export interface CommandSpec<Flags> {
  /** With its arguments: `pause <model>`. */
  readonly usage: string;
  readonly summary: string;
  /** More of it, for its own help. */
  readonly description?: string | undefined;
  readonly addFlags: readonly ((command: Command) => Command)[];
  /** Without the name of the program; each with what it does. */
  readonly examples: readonly (readonly [string, string])[];
  run(context: CommandContext<Flags>): Promise<ExitCode>;
}

/** Adds a command to a program; what it ends with goes to `settle`. */
export type AddCommand = (program: Command, io: Io, settle: (code: ExitCode) => void) => void;

export function defineCommand<Flags extends CommonFlags>(spec: CommandSpec<Flags>): AddCommand {
  return (program, io, settle) => {
    const command = program.command(spec.usage).summary(spec.summary);
    command.description(
      spec.description === undefined ? spec.summary : `${spec.summary}\n\n${spec.description}`,
    );
    for (const add of [...spec.addFlags, addCommonFlags]) add(command);
    const examples = spec.examples.map(([line, what]) => `  godwit ${line}\n      ${what}`).join('\n');
    command.addHelpText('after', `\nExamples:\n${examples}`);
    command.action(async () => {
      const sourceOf = (name: string) => command.getOptionValueSource(name);
      const asksNodes = sourceOf('nats') === 'cli' && sourceOf('database') !== 'cli';
      const flags = { ...command.opts<Flags>(), asksNodes };
      const out = createOutput(io, { json: flags.json === true, color: flags.color });
      settle(await spec.run({ io, out, flags, args: command.processedArgs as (string | undefined)[] }));
    });
  };
}
