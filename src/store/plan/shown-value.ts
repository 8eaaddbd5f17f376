import { limits } from '../../limits.ts';
import type { RecordData } from '../../model/data.ts';
import { isInstant } from '../../ports/instant.ts';
import type { ShownValue, ShownValues } from './report.ts';

const maxCharacters = limits.plan.shownCharacters.value;
const maxElements = limits.plan.shownElements.value;

/** In place of what is left out. */
const mark = '…';

/** The chosen properties of a record, as JSON has room for them. */
export function shownValues(record: RecordData, names: readonly string[]): ShownValues {
  const shown = names.filter((name) => Object.hasOwn(record, name) && record[name] !== undefined);
  return Object.fromEntries(shown.map((name) => [name, shownValue(record[name])]));
}

/** @param value of a record: scalars, dates, bytes, arrays, sets, maps and objects of them */
export function shownValue(value: unknown): ShownValue {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'string') return cut(value);
  if (typeof value === 'bigint') return cut(value.toString());
  if (isInstant(value)) return value.toISOString();
  if (value instanceof Uint8Array) {
    return cut(Buffer.from(value.subarray(0, maxCharacters)).toString('hex'));
  }
  if (value instanceof Map) return shownList([...value.entries()]);
  if (value instanceof Set) return shownList([...value]);
  if (Array.isArray(value)) return shownList(value);
  if (typeof value === 'object') return shownObject(value);
  return typeof value;
}

function shownList(elements: readonly unknown[]): readonly ShownValue[] {
  const shown = elements.slice(0, maxElements).map((element) => shownValue(element));
  return elements.length > maxElements ? [...shown, mark] : shown;
}

function shownObject(value: object): ShownValue {
  const entries = Object.entries(value).filter(([, part]) => part !== undefined);
  const shown = entries.slice(0, maxElements).map(([name, part]) => [cut(name), shownValue(part)] as const);
  return Object.fromEntries(entries.length > maxElements ? [...shown, [mark, mark]] : shown);
}

function cut(text: string): string {
  return text.length <= maxCharacters ? text : `${text.slice(0, maxCharacters - 1)}${mark}`;
}
