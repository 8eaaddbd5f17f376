/** What is pushed, to be iterated over once, by one reader. */
export interface Feed<T> extends AsyncIterable<T> {
  push(item: T): void;
  /** Nothing comes behind what waits; an error is thrown there. Twice is fine. */
  end(error?: Error): void;
}

export interface FeedOptions<T> {
  /** Called with more items than that, to make room among them. */
  readonly max: number;
  readonly makeRoom: (waiting: T[]) => void;
  /** Called once: at the end, or when the reader has left. */
  readonly onEnd: () => void;
}

export function createFeed<T>({ max, makeRoom, onEnd }: FeedOptions<T>): Feed<T> {
  const waiting: T[] = [];
  let isOver = false;
  let failure: Error | undefined;
  let wake: (() => void) | undefined;

  const end = (error?: Error) => {
    if (isOver) return;
    isOver = true;
    failure = error;
    onEnd();
    wake?.();
  };
  const read = async function* (): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const item = waiting.shift();
        if (item !== undefined) yield item;
        else if (failure !== undefined) throw failure;
        else if (isOver) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      end();
    }
  };
  const reading = read();
  return {
    push(item) {
      if (isOver) return;
      waiting.push(item);
      if (waiting.length > max) makeRoom(waiting);
      wake?.();
    },
    end,
    [Symbol.asyncIterator]: () => reading,
  };
}
