import type { BusRequestOptions } from '../cluster/bus.ts';
import { createFeed } from '../cluster/feed.ts';
import { RequestException } from '../errors.ts';
import { limits } from '../limits.ts';
import type { MigrationMessage } from '../migration/event-messages.ts';
import type { MigrationStatus } from '../migration/status.ts';
import type { Clock } from '../ports/clock.ts';
import { systemClock } from '../ports/clock.ts';
import type { RemoteConnection } from './connection.ts';
import { busOf } from './connection.ts';
import type { RemoteStore } from './control-migration.ts';
import { parseMessage } from './parse-message.ts';
import { readStatuses } from './read-statuses.ts';
import { parseReply } from './replies.ts';

export interface FollowOptions extends RemoteStore {
  /** Ids of models. Default: all. */
  readonly models?: readonly number[] | undefined;
  /**
   * Whether nodes are asked for the present status: in the beginning, behind a gap and after a reconnect. Takes the right
   * to publish to `<prefix>.<store>.control.*.status`. Default true.
   */
  readonly reads?: boolean | undefined;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
}

/** A status that was asked for. */
export interface MigrationRead {
  readonly type: 'read';
  readonly databaseId: string;
  /** Of the node that answered. */
  readonly nodeId: string;
  readonly modelId: number;
  readonly version: number;
  readonly status: MigrationStatus;
}

/** Messages that were lost on the way, or dropped here because the reader is slow. What is true now follows as a `read`. */
export interface MigrationGap {
  readonly type: 'gap';
  /** Null: of all models. */
  readonly modelId: number | null;
  readonly missed: number;
}

export type FollowedMigration = MigrationMessage | MigrationRead | MigrationGap;

const maxWaiting = limits.store.waitingEvents.value;
const maxLines = limits.cluster.followedSubjects.value;
const eventTypes = ['status', 'audit', 'metrics'] as const;

/**
 * What the nodes of a store publish, to iterate over once: from the call on, until the signal aborts, the connection is
 * closed or the loop is left. A status never goes back: one that is older than what came before, by the version of the
 * database, is left out, and so is what comes twice. Reconnects are waited out.
 *
 * @throws RequestException STORE_AMBIGUOUS out of the loop, where nodes of several databases are heard, or a node that is
 * asked knows of them, and none is named
 */
export function followMigrations(
  connection: RemoteConnection,
  { store, prefix = 'godwit', models, databaseId, reads = true, signal }: FollowOptions,
  { clock = systemClock }: { readonly clock?: Clock } = {},
): AsyncIterable<FollowedMigration> {
  const bus = busOf(connection);
  const subjects = `${prefix}.${store}`;
  const over = new AbortController();
  const ends: (() => void)[] = [];
  const feed = createFeed<FollowedMigration>({
    max: maxWaiting,
    makeRoom(waiting) {
      // What was missed cannot be told from what is left: whoever reads begins again from what is true now.
      const missed = waiting.length;
      waiting.length = 0;
      waiting.push({ type: 'gap', modelId: null, missed });
      reader?.readAll();
    },
    onEnd() {
      over.abort();
      for (const end of ends) end();
    },
  });

  /** The latest of each subject, by session. */
  const seen = new Map<string, number>();
  const versions = new Map<number, number>();
  let followed = databaseId;

  const isNews = (modelId: number, version: number): boolean => {
    if (version < (versions.get(modelId) ?? 0)) return false;
    versions.delete(modelId);
    versions.set(modelId, version);
    forgetOldest(versions);
    return true;
  };

  const isOfOthers = (found: string): boolean => {
    followed ??= found;
    if (followed === found) return false;
    if (databaseId === undefined) feed.end(ambiguous(store, [followed, found]));
    return true;
  };

  const receive = (payload: Uint8Array, subject: string) => {
    const message = parseMessage(payload, subject, { store, subjects });
    if (message === undefined || isOfOthers(message.databaseId)) return;
    const { modelId, seq, session } = message;
    if (models?.includes(modelId) === false) return;
    const line = `${session} ${subject}`;
    const last = seen.get(line);
    if (last !== undefined && seq <= last) return;
    seen.delete(line);
    seen.set(line, seq);
    forgetOldest(seen);
    if (last !== undefined && seq > last + 1) {
      feed.push({ type: 'gap', modelId, missed: seq - last - 1 });
      reader?.read(modelId);
    }
    if (message.type === 'status' && !isNews(modelId, message.version)) return;
    feed.push(message);
  };

  const reader = reads
    ? readStatuses({
        async ask(about, options: BusRequestOptions) {
          const body = followed === undefined ? {} : { databaseId: followed };
          const subject = `${subjects}.control.${about}.status`;
          return parseReply(
            await bus.request(subject, Buffer.from(JSON.stringify(body)), options),
            subject,
            body,
          );
        },
        models,
        signal: over.signal,
        clock,
        onStatus({ databaseId: found, ...read }) {
          if (isOfOthers(found) || !isNews(read.modelId, read.version)) return;
          feed.push({ type: 'read', databaseId: found, ...read });
        },
        onAmbiguous(found) {
          if (followed === undefined) feed.end(ambiguous(store, [found]));
        },
      })
    : undefined;

  const stop = () => feed.end();
  if (signal?.aborted === true) {
    stop();
    return feed;
  }
  signal?.addEventListener('abort', stop, { once: true });
  ends.push(() => signal?.removeEventListener('abort', stop));
  for (const type of eventTypes) {
    const listening = bus.subscribe(`${subjects}.${type}.>`, receive);
    ends.push(() => listening.unsubscribe());
  }
  const ignore = bus.onState?.(({ type }) => {
    if (type === 'connected') reader?.readAll();
    if (type === 'closed') stop();
  });
  if (ignore !== undefined) ends.push(ignore);
  if (bus.state?.type === 'closed') stop();
  reader?.readAll();
  return feed;
}

/** Sessions end without a word. */
function forgetOldest<Key>(seen: Map<Key, number>): void {
  if (seen.size <= maxLines) return;
  for (const line of seen.keys()) {
    seen.delete(line);
    return;
  }
}

function ambiguous(store: string, databaseIds: readonly string[]): RequestException {
  return new RequestException(
    'STORE_AMBIGUOUS',
    `Stores of several databases are called ${store} here: pass the databaseId of one of them.`,
    { details: { databaseIds } },
  );
}
