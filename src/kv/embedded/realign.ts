import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import type { RootDatabase } from 'lmdb';

/**
 * LMDB keeps the number of the last transaction in memory that all processes share, and the next writer goes by it. A
 * process that opens the files reads that number from the disk and sets it, without a lock: if others commit in between,
 * it sets it back. The next writer would then overwrite what was committed meanwhile, acknowledged as it is. The commits
 * themselves are whole on the disk, so whoever writes compares before it does.
 */
export function isSetBack(environment: RootDatabase): boolean {
  // What the pages of the file say, whatever the shared memory does. Outside of lmdb's declared types.
  const { env } = environment as unknown as { readonly env: { info(): { readonly lastTxnId: number } } };
  return environment.getWriteTxnId() !== env.info().lastTxnId + 1;
}

/** Opens the files to read, as any process that comes, and leaves: that sets the number to what the disk has. */
const opening =
  'const [, lmdb, path] = process.argv; require(lmdb).open({ path, noSubdir: false, readOnly: true }).close();';

/** A process has to start. Milliseconds. */
const realignTimeoutMs = 10_000;

/**
 * Sets the shared number right, by another process: one that has the files open cannot open them again. While the number
 * is wrong nobody writes, so nothing can come in between this time.
 */
export function realign(path: string): Promise<void> {
  const running = underWay.get(path) ?? openElsewhere(path).finally(() => underWay.delete(path));
  underWay.set(path, running);
  return running;
}

/** By directory: however many writes wait for it, one process is enough. */
const underWay = new Map<string, Promise<void>>();

function openElsewhere(path: string): Promise<void> {
  const lmdb = createRequire(import.meta.url).resolve('lmdb');
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ['-e', opening, lmdb, path],
      { timeout: realignTimeoutMs, env: {}, windowsHide: true },
      (error) => {
        if (error === null) resolve();
        else reject(error);
      },
    );
  });
}
