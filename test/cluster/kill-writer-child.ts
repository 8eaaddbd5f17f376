/** A process that writes rows of its own, one transaction each, and looks whether what was acknowledged is there. */
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { createSeededRandom } from '../rig/seed.ts';

export interface WriterOrder {
  readonly directory: string;
  /** No two processes write the same rows. */
  readonly name: string;
  readonly seed: number;
}

export type WriterReport =
  | { readonly type: 'loaded' }
  | { readonly type: 'acknowledged' }
  /** A row that is not as it was acknowledged. */
  | { readonly type: 'lost'; readonly row: string; readonly acknowledged: number; readonly found: number };

const report = (message: WriterReport) => process.send?.(message);
const rows = 1_000;
/** Several pages of the file change with each. */
const padding = '.'.repeat(600);

async function run({ directory, name, seed }: WriterOrder): Promise<void> {
  const random = createSeededRandom(seed);
  const database = await openEmbeddedDatabase({ directory });
  const acknowledged = new Map<string, number>();
  for (let value = 1; ; value += 1) {
    const row = `${name}/${random.below(rows)}`;
    await database.transact((tx) => {
      tx.set(Buffer.from(row), Buffer.from(`${value} ${padding}`));
      return Promise.resolve();
    });
    acknowledged.set(row, value);
    report({ type: 'acknowledged' });
    for (const one of [row, `${name}/${random.below(rows)}`]) {
      const bytes = await database.transact((tx) => tx.get(Buffer.from(one)));
      const found = Number.parseInt(bytes?.toString() ?? '0', 10);
      const expected = acknowledged.get(one) ?? 0;
      if (found === expected) continue;
      report({ type: 'lost', row: one, acknowledged: expected, found });
      acknowledged.set(one, found);
    }
  }
}

// What is awaited may keep no process alive; the channel does.
process.on('message', () => undefined);
process.once('message', (order) => {
  run(order as WriterOrder).catch((error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exit(1);
  });
});
report({ type: 'loaded' });
