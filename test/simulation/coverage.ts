import type { AnyStateNode, AnyTransitionDefinition, InspectionEvent } from 'xstate';
import { leaseMachine } from '../../machines/lease.ts';
import { migrationMachine } from '../../machines/migration.ts';
import { nodeMachine } from '../../machines/node.ts';

/** How often each transition of the machines was taken. */
export interface Coverage {
  readonly counts: Readonly<Record<string, number>>;
  readonly inspect: (event: InspectionEvent) => void;
}

export function createCoverage(): Coverage {
  const counts: Record<string, number> = Object.fromEntries(allTransitions().map((name) => [name, 0]));
  const names = new WeakMap<AnyTransitionDefinition, string>();
  return {
    counts,
    inspect(event) {
      if (event.type !== '@xstate.microstep') return;
      for (const transition of event._transitions) {
        let name = names.get(transition);
        if (name === undefined) {
          name = nameOf(transition);
          names.set(transition, name);
        }
        if (name in counts) counts[name] = (counts[name] ?? 0) + 1;
      }
    },
  };
}

/** Every transition that the machines have, by name. */
export function allTransitions(): readonly string[] {
  return [leaseMachine, migrationMachine, nodeMachine].flatMap(({ root }) => transitionsOf(root).map(nameOf));
}

function transitionsOf(state: AnyStateNode): readonly AnyTransitionDefinition[] {
  return [
    ...[...state.transitions.values()].flat(),
    ...(state.always ?? []),
    ...Object.values(state.states).flatMap((inner) => transitionsOf(inner)),
  ];
}

/** `migration.backfill xstate.done.actor.… #1 -> verify`: which of several under one event tells the number. */
function nameOf(transition: AnyTransitionDefinition): string {
  const { source, eventType, target } = transition;
  const siblings = source.transitions.get(eventType) ?? source.always ?? [];
  const to = target?.map(({ key }) => key).join() ?? 'stays';
  return `${source.id} ${eventType} #${siblings.indexOf(transition)} -> ${to}`;
}
