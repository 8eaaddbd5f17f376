import type { Transaction } from '../../kv/kv.ts';
import type { PassName } from '../../records/keys.ts';
import { isStopping, readIntent } from '../intent.ts';
import type { HeldMigration, ModelMigration } from '../runtime.ts';
import { watchUntil } from '../watch.ts';
import { readRanges } from './ledger.ts';

/** How often whoever waits for others looks at what they do, besides watches. Milliseconds. */
const othersPollMs = 250;
/** How often the leader asks again for a part of what others move: there may be one that is worth cutting by now. */
const askAgainMs = 1_000;

/**
 * What the leader waits for when it has nothing to move. `whenDone`: until all are at their end, or one is free again or
 * may be cut. `whenTold`: until no living session has a claim, which each gives back at its next chunk.
 */
export async function othersStand(
  { runtime, model, stop }: ModelMigration,
  held: HeldMigration,
  pass: PassName,
  until: 'whenDone' | 'whenTold',
): Promise<'done' | 'free' | undefined> {
  const { keys } = model;
  const askAtMs = runtime.clock.monotonicMs() + askAgainMs;
  const look = async (tx: Transaction) => {
    const [rows, intent] = await Promise.all([
      readRanges(tx, keys, pass, { snapshot: true }),
      readIntent(tx, keys, held.state.migrationId),
      held.lease.guard(tx),
    ]);
    if (rows.every(({ done }) => done)) return 'done' as const;
    const living = await Promise.all(
      rows.map(async ({ claim }) => claim !== null && !(await isEnded(tx, claim.session))),
    );
    const hasFree = rows.some(({ done }, at) => !done && living[at] !== true);
    const isTold = isStopping(intent);
    if (until === 'whenTold') return living.some(Boolean) && isTold ? undefined : ('free' as const);
    const isToAsk = runtime.clock.monotonicMs() >= askAtMs;
    return hasFree || isTold || isToAsk ? ('free' as const) : undefined;
  };
  const isEnded = (tx: Transaction, session: string) =>
    session === runtime.session ? Promise.resolve(true) : runtime.sessions.isOver(tx, session);
  const first = await runtime.database.transact(look, { signal: held.lease.lost });
  if (first !== undefined) return first;
  const watched = await runtime.database.transact((tx) => readRanges(tx, keys, pass, { snapshot: true }));
  return watchUntil({
    database: runtime.database,
    clock: runtime.clock,
    keys: [keys.intent, ...watched.flatMap(({ done }, at) => (done ? [] : [keys.range(pass, at)]))],
    pollMs: Math.min(othersPollMs, runtime.heartbeatMs),
    signal: AbortSignal.any([stop, held.lease.lost]),
    isAwaited: true,
    look,
  });
}
