/** Answers what `make` makes at the first call, and the same ever after: a store of many models opens before it needs most. */
export function lazily<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
