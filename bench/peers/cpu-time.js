/** The CPU time of processes with all their children, where Linux tells it. */
import { readdirSync, readFileSync } from 'node:fs';

/**
 * @typedef {object} ProcessTime
 * @property {number} parent
 * @property {number} ms of its threads, and of those of its children that have ended
 */

/** Linux counts in hundredths of a second, whatever its own clock does. */
const msPerTick = 10;

/**
 * All processes there are; null where that cannot be told.
 *
 * @returns {ReadonlyMap<number, ProcessTime> | null}
 */
export function readProcesses() {
  /** @type {Map<number, ProcessTime>} */
  const processes = new Map();
  /** @type {string[]} */
  let names;
  try {
    names = readdirSync('/proc').filter((name) => /^\d+$/u.test(name));
  } catch {
    return null;
  }
  for (const name of names) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      // The name of a program may have blanks and brackets in it: what counts is behind the last one.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
      processes.set(Number(name), { parent: Number(fields[1]), ms: ticks * msPerTick });
    } catch {
      // Ended meanwhile.
    }
  }
  return processes.size === 0 ? null : processes;
}

/**
 * @param {readonly number[]} roots
 * @param {ReadonlyMap<number, ProcessTime> | null} processes
 * @returns {number | null}
 */
export function cpuMsOf(roots, processes) {
  if (processes === null) return null;
  /** @type {Map<number, number[]>} */
  const children = new Map();
  for (const [pid, { parent }] of processes) children.set(parent, [...(children.get(parent) ?? []), pid]);
  const counted = new Set(roots);
  // A set that grows is walked to its end.
  for (const pid of counted) for (const child of children.get(pid) ?? []) counted.add(child);
  let ms = 0;
  for (const pid of counted) ms += processes.get(pid)?.ms ?? 0;
  return ms;
}
