import type { Clock } from '../ports/clock.ts';
import type { MessageBus } from './bus.ts';

/** What is said on `<prefix>.<store>.work`. */
export interface WorkMessage {
  readonly v: 1;
  readonly type: 'work';
  readonly store: string;
  readonly databaseId: string;
  readonly nodeId: string;
  readonly session: string;
  /** Ranges of this model are free to be claimed. */
  readonly modelId: number;
  readonly atMs: number;
}

/**
 * Nodes tell each other that ranges are free, so that who is idle need not wait for its next look. A hint that is lost
 * costs that wait, and one too many costs a look: what is true stands in the database.
 */
export interface WorkHints {
  /** At most ten times a second for each model; the last one is never left out. */
  tell(modelId: number): void;
  /** Calls back with each hint of another node. Answers what ends it. */
  listen(modelId: number, heard: () => void): () => void;
}

export interface ConnectedHints extends WorkHints {
  /** From now on hints come and go, until what it answers is called. */
  connect(bus: MessageBus, subject: string, self: HintSelf): () => void;
}

type HintSelf = Pick<WorkMessage, 'store' | 'databaseId' | 'nodeId' | 'session'>;

/** Between two hints about one model, milliseconds. */
const intervalMs = 100;

export function createWorkHints(clock: Clock): ConnectedHints {
  const listeners = new Map<number, Set<() => void>>();
  /** Models of which something was told a moment ago. */
  const resting = new Map<number, { readonly timer: unknown; again: boolean }>();
  let publish: ((modelId: number) => void) | undefined;

  const tell = (modelId: number) => {
    const rest = resting.get(modelId);
    if (rest !== undefined) rest.again = true;
    if (rest !== undefined || publish === undefined) return;
    publish(modelId);
    const timer = clock.setTimeout(() => {
      const again = resting.get(modelId)?.again === true;
      resting.delete(modelId);
      if (again) tell(modelId);
    }, intervalMs);
    resting.set(modelId, { timer, again: false });
  };

  return {
    tell,
    listen(modelId, heard) {
      const all = listeners.get(modelId) ?? new Set();
      // Two who listen with one function are two.
      const listener = () => heard();
      listeners.set(modelId, all.add(listener));
      return () => void all.delete(listener);
    },
    connect(bus, subject, self) {
      publish = (modelId) => {
        const message: WorkMessage = { v: 1, type: 'work', ...self, modelId, atMs: clock.wallMs() };
        bus.publish(subject, Buffer.from(JSON.stringify(message)));
      };
      const listening = bus.subscribe(subject, (payload) => {
        const modelId = freeModel(payload, self);
        if (modelId !== undefined) for (const heard of listeners.get(modelId) ?? []) heard();
      });
      return () => {
        listening.unsubscribe();
        for (const [modelId, { timer, again }] of resting) {
          clock.clearTimeout(timer);
          if (again) publish?.(modelId);
        }
        publish = undefined;
        resting.clear();
      };
    },
  };
}

/** Of another node of the same database. Whatever else comes says nothing. */
function freeModel(payload: Uint8Array, self: HintSelf): number | undefined {
  try {
    const message = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<WorkMessage> | null;
    const { v, type, databaseId, session, modelId } = message ?? {};
    const isOther = databaseId === self.databaseId && session !== self.session;
    return v === 1 && type === 'work' && isOther ? modelId : undefined;
  } catch {
    return undefined;
  }
}
