/** Imports one file into a process that has loaded nothing but this, and says how long it took or what it loaded. */
import { Session } from 'node:inspector';
import { answer, readTask } from './run-child.ts';

export interface ImportTask {
  readonly url: string;
  /** Not while it is timed: watching costs. */
  readonly isListed: boolean;
}

export interface ImportReport {
  readonly ms: number;
  /** Every script that was loaded, as URLs or paths; empty where it was timed. */
  readonly files: readonly string[];
}

interface ScriptParsed {
  readonly params: { readonly url: string };
}

const { url, isListed } = readTask<ImportTask>();
const files = new Set<string>();
const session = new Session();
if (isListed) {
  session.connect();
  session.post('Debugger.enable');
  // Those of this process itself have been told of by now.
  session.on('Debugger.scriptParsed', ({ params }: ScriptParsed) => files.add(params.url));
}
const beganMs = performance.now();
await import(url);
const ms = performance.now() - beganMs;
session.disconnect();
answer({ ms, files: [...files].filter((file) => /^(?:file:|\/)/.test(file)) });
