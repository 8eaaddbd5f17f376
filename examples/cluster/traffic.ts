import { setTimeout } from 'node:timers/promises';
import type { Client, Response } from './client.ts';
import { createClient } from './client.ts';

/** Clients that keep their connections, and as many that do not. */
const clientsOfEach = 4;
/** Between an answer and the next request of a client. They go on like that whatever Retry-After says, to count it. */
const pauseMs = 15;

export interface Traffic {
  /** Resolves with the first answer from now on for which it holds. */
  seen(isIt: (response: Response) => boolean): Promise<Response>;
  end(): Promise<void>;
}

/** A steady stream of requests for products. */
export function startTraffic(
  port: number,
  products: number,
  told: { readonly answered: (response: Response) => void; readonly lost: (error: unknown) => void },
): Traffic {
  const waiting = new Set<(response: Response) => void>();
  let isOver = false;
  let next = 0;

  const run = async (client: Client): Promise<void> => {
    while (!isOver) {
      next = (next % products) + 1;
      try {
        const response = await client.ask(`/products/${next}`);
        told.answered(response);
        for (const look of waiting) look(response);
      } catch (error) {
        told.lost(error);
      }
      await setTimeout(pauseMs);
    }
    client.close();
  };
  const running = [true, false].flatMap((keepsConnections) =>
    Array.from({ length: clientsOfEach }, () => run(createClient(port, { keepsConnections }))),
  );

  return {
    seen: (isIt) =>
      new Promise((resolve) => {
        const look = (response: Response) => {
          if (!isIt(response)) return;
          waiting.delete(look);
          resolve(response);
        };
        waiting.add(look);
      }),
    async end() {
      isOver = true;
      await Promise.all(running);
    },
  };
}
