import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';

/** What something took. */
export interface Measured {
  readonly ms: number;
  readonly cpuMs: number;
  readonly mainCpuMs: number | null;
}

/** Starts a measurement; the answer ends it. */
export function measure(): () => Measured {
  const beganMs = performance.now();
  const before = process.cpuUsage();
  const mainBeforeMs = mainThreadCpuMs();
  return () => {
    const { user, system } = process.cpuUsage(before);
    const mainMs = mainThreadCpuMs();
    return {
      ms: performance.now() - beganMs,
      cpuMs: (user + system) / 1_000,
      mainCpuMs: mainMs === null || mainBeforeMs === null ? null : mainMs - mainBeforeMs,
    };
  };
}

/** Linux counts the nanoseconds of each thread; the main thread has the number of the process. */
function mainThreadCpuMs(): number | null {
  const [nanoseconds] = readOrEmpty(`/proc/self/task/${process.pid}/schedstat`).split(' ');
  return nanoseconds === undefined || nanoseconds === '' ? null : Number(nanoseconds) / 1_000_000;
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Samples while something runs. A file that is mapped counts as resident, however much memory is free for others. */
export function watchAnonymousMemory(): () => number | null {
  let peak: number | null = null;
  const look = () => {
    const found = /^RssAnon:\s+(\d+) kB$/mu.exec(readOrEmpty('/proc/self/status'))?.[1];
    if (found !== undefined) peak = Math.max(peak ?? 0, Number(found) * 1_024);
  };
  const timer = setInterval(look, 20);
  return () => {
    clearInterval(timer);
    look();
    return peak;
  };
}
