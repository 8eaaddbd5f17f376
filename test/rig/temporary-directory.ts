import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TemporaryDirectory {
  readonly path: string;
  /** Deletes it with all that is in it. Twice is fine. */
  remove(): void;
}

/** A fresh empty directory outside the repository. Close what lives in it, then `remove()`. */
export function createTemporaryDirectory(purpose = 'test'): TemporaryDirectory {
  const path = mkdtempSync(join(tmpdir(), `godwit-${purpose}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }) };
}
