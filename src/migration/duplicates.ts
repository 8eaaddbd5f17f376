import { RequestException } from '../errors.ts';
import { limits } from '../limits.ts';
import { isListOf, isShape, isString } from '../records/row.ts';

/** Two records that cannot both stay, because they have the same values of a unique index. Never has the values. */
export interface DuplicatePair {
  readonly index: string;
  /** Of the record that has the values, in hexadecimal digits, cut. */
  readonly firstKey: string;
  /** Of the one that has them as well. */
  readonly key: string;
}

export const areDuplicates = isListOf(
  isShape<DuplicatePair>({ index: isString, firstKey: isString, key: isString }),
);

const maxPairs = limits.migration.listedDuplicates.value;
const maxKeyDigits = limits.migration.findingKeyDigits.value;
/** A message has room for the first few, and for what to do about them. */
const maxPairsLength = limits.migration.messageLength.value / 2;

export function duplicatePair(index: string, firstKey: Uint8Array, key: Uint8Array): DuplicatePair {
  const digits = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex').slice(0, maxKeyDigits);
  return { index, firstKey: digits(firstKey), key: digits(key) };
}

/** @param isComplete whether these are all there are; false: one was met, and nobody has looked for others */
export function notUnique(
  model: string,
  pairs: readonly DuplicatePair[],
  isComplete = false,
): RequestException {
  const duplicates = pairs.slice(0, maxPairs);
  return new RequestException('UNIQUE_VIOLATION', messageOf(model, duplicates, isComplete), {
    details: { model, index: duplicates[0]?.index, duplicates, isComplete },
  });
}

function messageOf(model: string, pairs: readonly DuplicatePair[], isComplete: boolean): string {
  const shown: string[] = [];
  for (const { index, firstKey, key } of pairs) {
    const text = `${firstKey} and ${key} (${index})`;
    if (shown.length > 0 && [...shown, text].join('; ').length > maxPairsLength) break;
    shown.push(text);
  }
  const left = pairs.length - shown.length;
  const others =
    left > 0 ? `; ${isComplete ? '' : 'at least '}${left} more` : isComplete ? '' : '; perhaps others';
  return `Records of ${model} have the same values of a unique index, by key bytes: ${shown.join('; ')}${others}.`;
}

/** The pairs that a failure names. */
export function duplicatesOf(error: unknown): readonly DuplicatePair[] | undefined {
  if (!(error instanceof RequestException) || error.code !== 'UNIQUE_VIOLATION') return undefined;
  const { duplicates } = error.details;
  return areDuplicates(duplicates) ? duplicates : undefined;
}
