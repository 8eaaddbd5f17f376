import { KeyValueError } from '../kv.ts';

/** The client's errors carry its numbers: they become the port's. Everything else stays as it is. */
export function translate(error: unknown): unknown {
  const code = codeOf(error);
  if (code === undefined || error instanceof KeyValueError) return error;
  return new KeyValueError(code, { cause: error });
}

/** FoundationDB's number of an error; undefined for one that is not the client's. */
export function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const code: unknown = Reflect.get(error, 'code');
  return typeof code === 'number' ? code : undefined;
}
