import { execFileSync } from 'node:child_process';
import { createTemporaryDirectory } from './temporary-directory.ts';

/** A file system of its own, in memory. */
export interface SmallDisk {
  readonly path: string;
  /** From now on nothing can be written, or everything again. */
  setReadOnly(isReadOnly: boolean): void;
  /** Unmounts it. Close what lives on it first. */
  remove(): void;
}

/** @throws where the process may not mount; `whyNoSmallDisk` tells beforehand */
export function createSmallDisk(bytes: number): SmallDisk {
  const directory = createTemporaryDirectory('small-disk');
  const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'pipe' });
  try {
    run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', directory.path);
  } catch (error) {
    directory.remove();
    throw error;
  }
  return {
    path: directory.path,
    setReadOnly: (isReadOnly) =>
      void run('mount', '-o', `remount,${isReadOnly ? 'ro' : 'rw'}`, directory.path),
    remove: () => {
      run('umount', directory.path);
      directory.remove();
    },
  };
}

/** Why tests that need a small disk cannot run here; undefined where they can. */
export function whyNoSmallDisk(): string | undefined {
  if (process.platform !== 'linux') return 'a tmpfs is mounted on Linux only';
  if (process.getuid?.() !== 0) return 'only root may mount a tmpfs';
  try {
    createSmallDisk(1_000_000).remove();
    return undefined;
  } catch (error) {
    return `this root may not mount a tmpfs: ${error instanceof Error ? error.message : String(error)}`;
  }
}
