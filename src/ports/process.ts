import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** What tells one process from every other, as far as the operating system lets us know. */
export interface ProcessIdentity {
  readonly host: string;
  readonly pid: number;
  /** Changes with each boot of the kernel; empty where it cannot be told. */
  readonly bootId: string;
  /** Two containers may both have a pid 1; empty where it cannot be told. */
  readonly pidNamespace: string;
  /** In clock ticks since boot: a pid may be given away again. Empty where it cannot be told. */
  readonly startTime: string;
}

export interface ProcessPort {
  readonly identity: ProcessIdentity;
  /** Sessions (open stores) of this process that have not ended. */
  readonly sessions: Set<string>;
  /** True only where it is certain that the holder cannot write any more; false when it lives or nobody can tell. */
  isCertainlyDead(holder: ProcessIdentity, session: string): boolean;
}

function readOrEmpty(read: () => string): string {
  try {
    return read().trim();
  } catch {
    return '';
  }
}

/** Field 22 of /proc/<pid>/stat; the name before it is in parentheses and may hold anything. */
function startTimeOf(pid: number | 'self'): string {
  const stat = readOrEmpty(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

function isPidAbsent(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    // EPERM: it lives and is somebody else's.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function createProcessPort(): ProcessPort {
  const identity: ProcessIdentity = {
    host: hostname(),
    pid: process.pid,
    bootId: readOrEmpty(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1')),
    pidNamespace: readOrEmpty(() => readlinkSync('/proc/self/ns/pid')),
    startTime: startTimeOf('self'),
  };
  const sessions = new Set<string>();
  return {
    identity,
    sessions,
    isCertainlyDead(holder, session) {
      if (identity.bootId === '' || identity.pidNamespace === '' || holder.startTime === '') return false;
      if (holder.bootId !== identity.bootId || holder.pidNamespace !== identity.pidNamespace) return false;
      if (holder.pid === identity.pid && holder.startTime === identity.startTime)
        return !sessions.has(session);
      return isPidAbsent(holder.pid) || startTimeOf(holder.pid) !== holder.startTime;
    },
  };
}

/** This process. One for all stores in it, also when two copies of the module are loaded: the kernel tells. */
export const systemProcess: ProcessPort = createProcessPort();
