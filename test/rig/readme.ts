import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryTop } from '../../.scripts/architecture.ts';

export const readme = readFileSync(join(repositoryTop, 'README.md'), 'utf8');

export interface CodeBlock {
  readonly language: string;
  readonly text: string;
}

export function codeBlocks(markdown: string): readonly CodeBlock[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text,
  }));
}

/** A block of JavaScript names its file in its first line. */
export const nameOf = (text: string): string | undefined => /^\/\/ ([\w-]+\.js)\n/.exec(text)?.[1];

/** Rows of the table whose header has these columns, cell by cell, without the backquotes around a whole cell. */
export function tableRows(markdown: string, ...columns: readonly string[]): readonly (readonly string[])[] {
  const lines = markdown.split('\n');
  const header = lines.findIndex((line) => line.startsWith('|') && cellsOf(line).join() === columns.join());
  if (header === -1) throw new Error(`there is no table with the columns ${columns.join(', ')}`);
  const after = lines.slice(header + 2);
  const end = after.findIndex((line) => !line.startsWith('|'));
  return after.slice(0, end === -1 ? undefined : end).map(cellsOf);
}

function cellsOf(line: string): readonly string[] {
  return line
    .trim()
    .slice(1, -1)
    .split('|')
    .map((cell) => cell.trim().replace(/^`([^`]*)`$/, '$1'));
}
