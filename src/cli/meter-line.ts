import { clearLine, cursorTo } from 'node:readline';
import { formatBar, formatPercent } from './format.ts';
import type { TextSink } from './io.ts';

/** One line that is overwritten while something goes on; nothing where there is no terminal. */
export interface MeterLine {
  show(what: string, fraction: number, done: string): void;
  clear(): void;
}

const barWidth = 30;
const unknownColumns = 80;

export function createMeterLine(sink: TextSink): MeterLine {
  if (sink.isTTY !== true) return { show: () => undefined, clear: () => undefined };
  const stream = sink as NodeJS.WritableStream;
  const clear = () => {
    cursorTo(stream, 0);
    clearLine(stream, 0);
  };
  return {
    show(what, fraction, done) {
      clear();
      const line = `${what}  ${formatBar(fraction, barWidth)} ${formatPercent(fraction)}  ${done}`;
      sink.write(line.slice(0, (sink.columns ?? unknownColumns) - 1));
    },
    clear,
  };
}
