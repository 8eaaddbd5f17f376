import type { Backfill } from './backfill-spec.ts';
import type { MigrationContext } from './context.ts';
import type { MigrationOutcome } from './outcome.ts';

/** One step of a phase. It is called again after `Partial` and `Retry`, and after a crash. */
export type MigrationHandler<Store = unknown> = (
  context: MigrationContext<Store>,
) => Promise<MigrationOutcome>;

/** What the program has for one model. A phase without a handler counts as `Success`. */
export interface MigrationHandlers {
  readonly expand: MigrationHandler | undefined;
  readonly backfill: MigrationHandler | Backfill | undefined;
  readonly verify: MigrationHandler | undefined;
  readonly contract: MigrationHandler | undefined;
}

export function isBackfill(handler: MigrationHandlers['backfill']): handler is Backfill {
  return typeof handler === 'object' && handler.kind === 'backfill';
}

export function hasHandler({ expand, backfill, verify, contract }: MigrationHandlers): boolean {
  return [expand, backfill, verify, contract].some((handler) => handler !== undefined);
}
