import type { AddCommand, CommandContext } from '../command.ts';
import { defineCommand } from '../command.ts';
import { callOf, withConsole } from '../connect.ts';
import type { Console, Steering } from '../console.ts';
import type { ExitCode } from '../exit-codes.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { CallFlags, ConfirmFlags, PlaceFlags, TimeoutFlags } from '../flags.ts';
import { addBusFlags, addCallFlags, addDatabaseFlags, addTimeoutFlag } from '../flags.ts';
import { statusLine } from '../status-text.ts';

export type SteerFlags = PlaceFlags & CallFlags & TimeoutFlags & ConfirmFlags;

/** As of the operator calls of a store. */
const defaultReasons: Readonly<Record<Steering, string>> = {
  pause: 'Paused by operator',
  resume: 'Resumed by operator',
  cancel: 'Canceled by operator',
  approve: 'Approved by operator',
};

interface SteeringSpec {
  readonly verb: Steering;
  readonly summary: string;
  readonly description: string;
  readonly examples: readonly (readonly [string, string])[];
}

export const steerFlags = [
  addDatabaseFlags,
  addBusFlags,
  addCallFlags,
  (command: Parameters<typeof addTimeoutFlag>[0]) =>
    addTimeoutFlag(command, 'how long nodes on the bus are waited for (default: 10s)'),
];

export function steeringCommand({ verb, ...spec }: SteeringSpec): AddCommand {
  return defineCommand<SteerFlags>({
    ...spec,
    usage: `${verb} <model>`,
    addFlags: steerFlags,
    run: (context) => steer(context, verb, () => Promise.resolve()),
  });
}

/** @param ask before anything is changed */
export function steer(
  { io, out, flags, args: [asked = ''] }: CommandContext<SteerFlags>,
  verb: Steering,
  ask: (console: Console, modelId: number) => Promise<void>,
): Promise<ExitCode> {
  return withConsole(io, flags, async (console) => {
    const { modelId, modelName } = findModel(asked, await console.models());
    await ask(console, modelId);
    const status = await console.steer(verb, modelId, callOf(io, flags, defaultReasons[verb]));
    out.result(status, () => statusLine(status, modelName.length));
    return exitCodes.done;
  });
}
