/** What the primary tells in its log, in the field `event`. */
export const shopEvent = {
  /** All workers of the first release listen: `port`. */
  serving: 'serving',
  /** A worker listens: `worker` (its pid), `release`. */
  live: 'live',
  /** A worker has ended: `worker`, `release`, `code`, `signal`. */
  ended: 'ended',
  /** The rolling restart is over: `replaced`. */
  restarted: 'restarted',
  /** The rolling restart has stopped: a worker of the new release did not come up. */
  stopped: 'stopped',
} as const;

export interface ShopEvent {
  readonly event: keyof typeof shopEvent;
  readonly port?: number;
  readonly worker?: number;
  readonly release?: number;
  readonly code?: number | null;
  readonly signal?: string | null;
  readonly replaced?: number;
}

/** What a line of the log tells of the shop; undefined for all else that is logged. */
export function parseShopEvent(line: string): ShopEvent | undefined {
  try {
    const found = JSON.parse(line) as Partial<ShopEvent> | null;
    return found?.event === undefined ? undefined : (found as ShopEvent);
  } catch {
    return undefined;
  }
}
