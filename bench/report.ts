import { readFileSync, writeFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import type { Figure, Section } from './figures.ts';
import { describeFigure } from './figures.ts';

/** What stands above the output of each section. */
export interface ReportHead {
  readonly command: string;
  readonly machine: string;
}

/**
 * The page with the results of these sections in it: between `<!-- results of NAME -->` and `<!-- end of results -->` what
 * the section printed, and between `<!-- figure NAME -->` and `<!-- end -->` the figure. What was not measured stays.
 *
 * @throws Error where the page has no place for a section, or for a figure with a target
 */
export function fillReport(page: string, sections: readonly Section[], head: ReportHead): string {
  let filled = page;
  for (const section of sections) {
    filled = replaceBetween(
      filled,
      [`<!-- results of ${section.name} -->`, '<!-- end of results -->'],
      `\n\n${rawOutput(section, head)}\n\n`,
    );
    for (const figure of section.figures) filled = fillFigure(filled, figure);
  }
  return filled;
}

function rawOutput({ lines }: Section, { command, machine }: ReportHead): string {
  return ['```text', `$ ${command}`, machine, ...lines, '```'].join('\n');
}

function fillFigure(page: string, figure: Figure): string {
  const begin = `<!-- figure ${figure.name} -->`;
  if (!page.includes(begin) && figure.target === undefined) return page;
  return replaceBetween(page, [begin, '<!-- end -->'], ` ${describeFigure(figure)} `);
}

function replaceBetween(page: string, [begin, end]: readonly [string, string], text: string): string {
  const from = page.indexOf(begin);
  const to = page.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`the page has no '${begin}' with '${end}' behind it`);
  return `${page.slice(0, from + begin.length)}${text}${page.slice(to)}`;
}

export async function writeReport(
  file: string,
  sections: readonly Section[],
  head: ReportHead,
): Promise<void> {
  const filled = fillReport(readFileSync(file, 'utf8'), sections, head);
  writeFileSync(file, await format(filled, { ...(await resolveConfig(file)), parser: 'markdown' }));
}
