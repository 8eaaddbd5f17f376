/** Where the example shows what it does. */
export interface Display {
  /** A line that stays. */
  line(text?: string): void;
  /** What is going on: one redrawn line in a terminal, elsewhere a plain line, at most one in a second. */
  status(text: () => string): void;
}

const plainIntervalMs = 1_000;
const redrawIntervalMs = 50;

export function createDisplay(stream: NodeJS.WriteStream): Display {
  return stream.isTTY ? createTerminal(stream) : createPlain(stream);
}

function createTerminal(stream: NodeJS.WriteStream): Display {
  let drawnAtMs = -Infinity;
  let isDrawn = false;
  const clear = () => {
    if (isDrawn) stream.write('\r\u001B[2K');
    isDrawn = false;
  };
  return {
    line(text = '') {
      clear();
      stream.write(`${text}\n`);
    },
    status(text) {
      const nowMs = performance.now();
      if (nowMs - drawnAtMs < redrawIntervalMs) return;
      drawnAtMs = nowMs;
      clear();
      // A line that wraps could not be redrawn. Some terminals say that they have no columns.
      stream.write(text().slice(0, stream.columns > 0 ? stream.columns - 1 : undefined));
      isDrawn = true;
    },
  };
}

function createPlain(stream: NodeJS.WriteStream): Display {
  let writtenAtMs = -Infinity;
  return {
    line(text = '') {
      stream.write(`${text}\n`);
    },
    status(text) {
      const nowMs = performance.now();
      if (nowMs - writtenAtMs < plainIntervalMs) return;
      writtenAtMs = nowMs;
      stream.write(`${text()}\n`);
    },
  };
}
