import { limits } from '../limits.ts';
import type { MessageBus } from './bus.ts';

/**
 * Other databases whose stores have the same name on the same bus. Each node says that it is there, to
 * `<prefix>.<store>.node`, when it is connected and when it first hears of another database, so that both know.
 */
export interface Namesakes {
  /** Ids of the other databases heard of since the bus was last connected. */
  readonly databaseIds: readonly string[];
  /** The bus is connected again: what was heard before may be gone. */
  renew(): void;
  /** Says that this node goes. */
  end(): void;
}

/** What nodes say about themselves. */
export interface NodeMessage {
  readonly v: 1;
  readonly type: 'node';
  readonly store: string;
  readonly databaseId: string;
  readonly nodeId: string;
  readonly session: string;
  readonly is: 'here' | 'gone';
  readonly atMs: number;
}

export interface NamesakesOptions {
  readonly bus: MessageBus;
  readonly subject: string;
  readonly self: Pick<NodeMessage, 'store' | 'databaseId' | 'nodeId' | 'session'>;
  readonly wallMs: () => number;
  /** Of each other database, once. */
  readonly onFound: (databaseId: string) => void;
}

const maxKept = limits.cluster.namesakes.value;

export function watchForNamesakes({ bus, subject, self, wallMs, onFound }: NamesakesOptions): Namesakes {
  const found = new Set<string>();
  const told = new Set<string>();
  const say = (is: NodeMessage['is']) => {
    const message: NodeMessage = { v: 1, type: 'node', ...self, is, atMs: wallMs() };
    bus.publish(subject, Buffer.from(JSON.stringify(message)));
  };
  const listening = bus.subscribe(subject, (payload) => {
    const databaseId = otherDatabase(payload, self.databaseId);
    if (databaseId === undefined || found.has(databaseId) || found.size >= maxKept) return;
    found.add(databaseId);
    if (!told.has(databaseId) && told.size < maxKept) {
      told.add(databaseId);
      onFound(databaseId);
    }
    say('here');
  });
  say('here');
  return {
    get databaseIds() {
      return [...found];
    },
    renew() {
      found.clear();
      say('here');
    },
    end() {
      listening.unsubscribe();
      say('gone');
    },
  };
}

/** Of a message that says that a node of another one is there. Whatever else comes says nothing. */
function otherDatabase(payload: Uint8Array, own: string): string | undefined {
  try {
    const message = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<NodeMessage> | null;
    const { v, type, is, databaseId } = message ?? {};
    if (v !== 1 || type !== 'node' || is !== 'here' || typeof databaseId !== 'string') return undefined;
    return databaseId === own ? undefined : databaseId;
  } catch {
    return undefined;
  }
}
