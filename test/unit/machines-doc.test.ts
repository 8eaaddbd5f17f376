import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AnyStateMachine, AnyStateNode } from 'xstate';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { migrationMachine } from '../../machines/migration.ts';
import { nodeMachine } from '../../machines/node.ts';
import { codeBlocks, tableRows } from '../rig/readme.ts';

const document = readFileSync(join(repositoryTop, 'docs/architecture.md'), 'utf8');

interface Drawing {
  readonly states: readonly string[];
  /** `from --> to`; an arrow at a group is one at every state in it. */
  readonly transitions: readonly string[];
  readonly initial: string | undefined;
  readonly final: readonly string[];
}

const end = '[*]';

function parseDrawing(text: string): Drawing {
  const groups = new Map<string, Set<string>>();
  const arrows: { readonly from: string; readonly to: string }[] = [];
  const states = new Set<string>();
  let group: Set<string> | undefined;
  for (const line of text.split('\n').map((raw) => raw.trim())) {
    const [, opened] = /^state (\w+) \{$/.exec(line) ?? [];
    const [, from, to] = /^(\S+) --> (\S+)(?: : .+)?$/.exec(line) ?? [];
    if (opened !== undefined) groups.set(opened, (group = new Set()));
    else if (line === '}') group = undefined;
    else if (from !== undefined && to !== undefined) arrows.push({ from, to });
    else if (line === 'stateDiagram-v2' || line === '') continue;
    else if (!/^\w+$/.test(line)) throw new Error(`not understood: ${line}`);
    for (const name of [from, to, from === undefined ? line : undefined]) {
      if (name === undefined || !/^\w+$/.test(name)) continue;
      states.add(name);
      group?.add(name);
    }
  }
  const members = (name: string) => [...(groups.get(name) ?? [name])];
  return {
    states: [...states].filter((name) => !groups.has(name)).toSorted(),
    transitions: arrows
      .filter(({ from, to }) => from !== end && to !== end)
      .flatMap(({ from, to }) => members(from).map((source) => `${source} --> ${to}`))
      .toSorted(),
    initial: arrows.find(({ from }) => from === end)?.to,
    final: arrows.filter(({ to }) => to === end).map(({ from }) => from),
  };
}

/** The machine as it runs, every arrow once, whichever events and guards lead along it. */
function drawingOf({ states, root }: Pick<AnyStateMachine, 'states' | 'root'>): Drawing {
  const nodes: readonly AnyStateNode[] = Object.values(states);
  const transitions = nodes.flatMap((node) =>
    // What leads out of the whole machine leads out of each state that it does not end in.
    [
      ...node.transitions.values(),
      node.always ?? [],
      ...(node.type === 'final' ? [] : root.transitions.values()),
    ]
      .flat()
      .flatMap(({ target = [] }) => target.map(({ key }) => `${node.key} --> ${key}`)),
  );
  return {
    states: nodes.map(({ key }) => key).toSorted(),
    transitions: [...new Set(transitions)].toSorted(),
    initial: root.initial.target[0]?.key,
    final: nodes.filter(({ type }) => type === 'final').map(({ key }) => key),
  };
}

describe('the architecture page', () => {
  const drawings = codeBlocks(document).filter(({ language }) => language === 'mermaid');

  it('draws the states and transitions of the migration machine, all of them and no other', () => {
    expect(parseDrawing(drawings[0]?.text ?? '')).toEqual(drawingOf(migrationMachine));
  });

  it('draws those of the node machine', () => {
    expect(parseDrawing(drawings[1]?.text ?? '')).toEqual(drawingOf(nodeMachine));
  });

  it('has the table of keys that stands with the code', () => {
    const source = readFileSync(join(repositoryTop, 'src/records/keys.ts'), 'utf8');
    const comment = source.replaceAll(/^ \* ?/gm, '');
    const rows = tableRows(document, 'key', 'value');
    expect(rows.length).toBeGreaterThan(10);
    expect(rows).toEqual(tableRows(comment, 'key', 'value'));
  });

  it('names files and folders that are there', () => {
    const named = [...document.matchAll(/`((?:src|machines|workers|test|\.scripts)\/[\w./-]*)`/g)].map(
      ([, path = '']) => path,
    );
    expect(named.length).toBeGreaterThan(40);
    expect(named.filter((path) => !existsSync(join(repositoryTop, path)))).toEqual([]);
  });
});
