import { createInterface } from 'node:readline';
import { styleText } from 'node:util';
import { CommandFailure } from './failure.ts';
import type { ToldFailure } from './failure.ts';
import { exitCodes } from './exit-codes.ts';
import type { Io, TextSink } from './io.ts';

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'cyan';

/** Colours text, or leaves it as it is. */
export type Paint = (style: Style, text: string) => string;

/** Only on a terminal, and where nobody has asked for none. */
export function paintFor(sink: TextSink, env: Io['env'], wantsColor: boolean): Paint {
  const isColored = wantsColor && sink.isTTY === true && (env['NO_COLOR'] ?? '') === '';
  return isColored
    ? (style, text) => styleText(style, text, { validateStream: false })
    : (_style, text) => text;
}

export interface OutputOptions {
  readonly json: boolean;
  readonly color: boolean;
}

/** Results to stdout, everything else to stderr. */
export interface Output {
  readonly json: boolean;
  /** Of stdout. */
  readonly paint: Paint;
  /** Of stderr. */
  readonly paintNote: Paint;
  /** One result: as JSON in one line, or as text. */
  result(value: unknown, text: () => string): void;
  /** For people, also beside `--json`. */
  note(text: string): void;
  failure(failure: ToldFailure): void;
}

export function createOutput(io: Io, { json, color }: OutputOptions): Output {
  const paintNote = paintFor(io.stderr, io.env, color);
  const line = (sink: TextSink, text: string) => void sink.write(`${text}\n`);
  return {
    json,
    paint: paintFor(io.stdout, io.env, color),
    paintNote,
    result(value, text) {
      line(io.stdout, json ? JSON.stringify(value) : text());
    },
    note: (text) => line(io.stderr, text),
    failure({ code, message, details }) {
      if (json) line(io.stdout, JSON.stringify({ error: { code, message, details } }));
      line(io.stderr, `godwit: ${paintNote('red', code)}: ${message.replaceAll(/\s*\n\s*/g, ' ')}`);
    },
  };
}

/**
 * Asks on a terminal; elsewhere nobody could answer.
 *
 * @param consequence what will be so afterwards
 * @throws CommandFailure NOT_CONFIRMED
 */
export async function confirm(io: Io, consequence: string, isAnswered: boolean): Promise<void> {
  if (isAnswered) return;
  if (io.stdin.isTTY !== true || io.stderr.isTTY !== true) {
    throw notConfirmed(`${consequence} There is no terminal to ask: pass --yes.`);
  }
  io.stderr.write(`${consequence}\nGo on? [y/N] `);
  const answer = await readLine(io);
  if (!/^y(?:es)?$/i.test(answer.trim())) throw notConfirmed('Nothing was changed.');
}

function readLine(io: Io): Promise<string> {
  const lines = createInterface({ input: io.stdin });
  return new Promise((resolve) => {
    lines.once('line', (line) => {
      resolve(line);
      lines.close();
    });
    lines.once('close', () => resolve(''));
  });
}

const notConfirmed = (message: string) =>
  new CommandFailure('NOT_CONFIRMED', message, { exitCode: exitCodes.usage });
