import { limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { MessageBus } from './bus.ts';

/**
 * Other databases whose stores have the same name on the same bus. Each node says that it is there, to
 * `<prefix>.<store>.node`, when it is connected, and asks who else is: those of other databases say it then too, so that
 * both know, whichever of them has been away.
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
  /** Nodes of other databases are to say that they are here. */
  readonly asks?: true;
  readonly atMs: number;
}

export interface NamesakesOptions {
  readonly bus: MessageBus;
  readonly subject: string;
  readonly self: Pick<NodeMessage, 'store' | 'databaseId' | 'nodeId' | 'session'>;
  readonly clock: Clock;
  /** Of each other database, once. */
  readonly onFound: (databaseId: string) => void;
}

const maxKept = limits.cluster.namesakes.value;
const maxIdLength = limits.cluster.operatorIdLength.value;
/** Between two answers, milliseconds: many who connect at once are answered together. */
const answerMs = 100;

export function watchForNamesakes({ bus, subject, self, clock, onFound }: NamesakesOptions): Namesakes {
  const found = new Set<string>();
  const told = new Set<string>();
  let answered: unknown;
  let isAskedAgain = false;
  const say = (what: Pick<NodeMessage, 'is' | 'asks'>) => {
    const message: NodeMessage = { v: 1, type: 'node', ...self, ...what, atMs: clock.wallMs() };
    bus.publish(subject, Buffer.from(JSON.stringify(message)));
  };
  const answer = () => {
    isAskedAgain = answered !== undefined;
    if (isAskedAgain) return;
    say({ is: 'here' });
    answered = clock.setTimeout(() => {
      answered = undefined;
      if (isAskedAgain) answer();
    }, answerMs);
  };
  const remember = (databaseId: string) => {
    if (found.size < maxKept) found.add(databaseId);
    if (told.has(databaseId) || told.size >= maxKept) return;
    told.add(databaseId);
    onFound(databaseId);
  };
  const listening = bus.subscribe(subject, (payload) => {
    const other = otherDatabase(payload, self.databaseId);
    if (other === undefined) return;
    remember(other.databaseId);
    if (other.asks) answer();
  });
  say({ is: 'here', asks: true });
  return {
    get databaseIds() {
      return [...found];
    },
    renew() {
      found.clear();
      say({ is: 'here', asks: true });
    },
    end() {
      listening.unsubscribe();
      clock.clearTimeout(answered);
      say({ is: 'gone' });
    },
  };
}

/** Of a message that says that a node of another one is there. Whatever else comes says nothing. */
function otherDatabase(
  payload: Uint8Array,
  own: string,
): { readonly databaseId: string; readonly asks: boolean } | undefined {
  try {
    const message = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<NodeMessage> | null;
    const { v, type, is, databaseId, asks } = message ?? {};
    if (v !== 1 || type !== 'node' || is !== 'here' || typeof databaseId !== 'string') return undefined;
    if (databaseId === own || databaseId.length > maxIdLength) return undefined;
    return { databaseId, asks: asks === true };
  } catch {
    return undefined;
  }
}
