/**
 * The message bus port. The database is the truth and the bus makes it fast: whatever is published may be lost, late or
 * doubled, and nothing but speed depends on it.
 */
export interface MessageBus {
  publish(subject: string, payload: Uint8Array): void;
  /** Subjects are exact, or end in `.>` for everything below. */
  subscribe(subject: string, receive: (payload: Uint8Array, subject: string) => void): Subscription;
  /** Ends what this object opened. Twice is fine. */
  close(): Promise<void>;
}

export interface Subscription {
  unsubscribe(): void;
}
