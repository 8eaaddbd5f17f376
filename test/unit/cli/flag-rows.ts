import type { Command } from 'commander';

/** Commands that do something, by their whole names. */
export function commandsOf(
  program: Command,
  above = '',
): readonly { readonly name: string; readonly command: Command }[] {
  return program.commands.flatMap((command) => {
    const name = `${above}${command.name()}`;
    return command.commands.length === 0 ? [{ name, command }] : commandsOf(command, `${name} `);
  });
}

/** Every flag that a help shows: itself, its variable, the commands that have it, what it means. */
export function flagRows(program: Command): readonly (readonly string[])[] {
  const commands = commandsOf(program);
  const rows = new Map<
    string,
    { readonly head: readonly [string, string]; readonly meaning: string; readonly names: string[] }
  >();
  for (const { name, command } of commands) {
    for (const { flags, envVar = '', description, hidden } of command.options) {
      if (hidden) continue;
      const id = `${flags} ${description}`;
      const row = rows.get(id) ?? { head: [flags, envVar], meaning: description, names: [] };
      row.names.push(name);
      rows.set(id, row);
    }
  }
  return [...rows.values()].map(({ head, meaning, names }) => [
    ...head,
    names.length === commands.length ? 'all' : names.join(', '),
    meaning,
  ]);
}
