/**
 * The message bus port. The database is the truth and the bus makes it fast: whatever is published may be lost, late or
 * doubled, and nothing but speed depends on it.
 *
 * A bus of an application's own needs `publish`, `subscribe` and `close` alone. What else it lacks is made up for: one
 * without `state` and `onState` is taken for connected all the time, on one without `request` and `respond` nobody asks.
 */
export interface MessageBus {
  /** Never waits. Throws nothing that a caller would have to handle: what cannot be sent is dropped. */
  publish(subject: string, payload: Uint8Array): void;
  /** Subjects are exact, or end in `.>` for everything below. */
  subscribe(subject: string, receive: (payload: Uint8Array, subject: string) => void): Subscription;
  /** Ends what this object opened. Twice is fine. */
  close(): Promise<void>;

  readonly state?: BusState | undefined;
  /** What was lost since it was made. */
  readonly counts?: BusCounts | undefined;
  /** Calls back after each change of `state.type`. Answers what ends that. */
  onState?(listener: (state: BusState) => void): () => void;
  /**
   * Asks those who `respond` to the subject and answers what one of them says.
   *
   * @throws RequestException BUS_UNANSWERED when nobody is there, there is no connection, or this user may not ask
   * (`details.refused`), TIMEOUT, ABORTED
   */
  request?(subject: string, payload: Uint8Array, options: BusRequestOptions): Promise<Uint8Array>;
  /**
   * Answers requests; of all who do so under one name of a group exactly one is asked. Where `answer` fails, that is
   * counted, and the one who asked waits until its time is over: a refusal is an answer too.
   */
  respond?(subject: string, group: string, answer: BusAnswer): Subscription;
  /** `respond`, under a name by which the tools of the bus find it. */
  serve?(service: BusService): Subscription;
}

/** A bus that lacks nothing: what `localBus` and `natsBus` are. */
export type WholeMessageBus = {
  readonly [Part in keyof MessageBus]-?: Exclude<MessageBus[Part], undefined>;
};

/** Undefined: it was meant for somebody else, and this one stays silent. */
export type BusAnswer = (
  payload: Uint8Array,
  subject: string,
) => Uint8Array | undefined | Promise<Uint8Array | undefined>;

export interface BusService {
  /** [A-Za-z0-9_-]+ */
  readonly name: string;
  /** Semantic: `1.2.3`. */
  readonly version: string;
  readonly description: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly subject: string;
  /** Of all who serve it under one name of a group exactly one is asked. [A-Za-z0-9_-]+ */
  readonly group: string;
  readonly answer: BusAnswer;
}

export interface BusRequestOptions {
  /** How long an answer is waited for, milliseconds, 1 or more. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface BusState {
  /** `reconnecting` is also what a bus begins with that has yet to connect. */
  readonly type: 'connected' | 'reconnecting' | 'closed';
  /** Since when it is that, milliseconds since 1970. */
  readonly sinceMs: number;
  /** The latest that went wrong; stays when things go well again. */
  readonly lastError?: BusError;
}

export interface BusError {
  /** Of the driver, for example `PERMISSIONS_VIOLATION`. */
  readonly code: string;
  readonly message: string;
  /** Milliseconds since 1970. */
  readonly atMs: number;
}

export interface BusCounts {
  /** Messages that were published and not handed on. */
  readonly dropped: number;
  /** Everything that went wrong: refused by the server, thrown by a receiver, a connection that did not come about. */
  readonly failures: number;
}

export interface Subscription {
  unsubscribe(): void;
}

/** Of a pino logger what a bus needs. */
export interface BusLogger {
  warn(details: object, message: string): void;
}
