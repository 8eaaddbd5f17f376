import { describe, expect, it } from 'vitest';
import {
  forbiddenInWorkers,
  importGraph,
  importsOf,
  pureEntryPoints,
  reachableFrom,
  repositoryTop,
  violations,
} from '../../.scripts/architecture.ts';

const graph = importGraph(repositoryTop);
const found = (file: string, source: string) => violations(importsOf(file, source));

describe('the direction of imports', () => {
  it('holds in every file of src, machines and workers', () => {
    expect(graph.length).toBeGreaterThan(50);
    expect(violations(graph)).toEqual([]);
  });

  it.each(pureEntryPoints)('lets %s reach nothing but model, ports, limits and errors', (entry) => {
    const strangers = [...reachableFrom(entry, graph)].filter(
      (place) => !/^src\/(model\/|ports\/|errors\.ts|limits\.ts|limits\/)/.test(place),
    );
    expect(strangers).toEqual([]);
  });

  it('keeps drivers and statecharts out of worker threads', () => {
    const workers = [...new Set(graph.map(({ from }) => from))].filter((file) => file.startsWith('workers/'));
    for (const worker of workers) {
      const reached = reachableFrom(worker, graph);
      expect(forbiddenInWorkers.filter((name) => reached.has(name))).toEqual([]);
    }
  });
});

describe('the check of imports', () => {
  it.each([
    ['src/kv/kv.ts', `import { a } from '../records/keys.ts';`],
    ['src/model/define.ts', `import type { KeyValue } from '../kv/kv.ts';`],
    ['src/records/fence.ts', `export * from '../migration/state.ts';`],
    ['src/migration/run.ts', `import {\n  open,\n} from '../store/store.ts';`],
    ['src/cluster/local.ts', `import '../records/keys.ts';`],
    ['src/telemetry/metrics.ts', `import { a } from '../migration/state.ts';`],
    ['src/store/store.ts', `import { main } from '../cli/main.ts';`],
    ['machines/node.ts', `import { a } from '../src/migration/state.ts';`],
    ['workers/transform.ts', `import type { KeyValue } from '../src/kv/kv.ts';`],
    ['src/migration/pool.ts', `import { run } from '../../workers/transform.ts';`],
    ['src/elsewhere/a.ts', `import { a } from '../errors.ts';`],
    ['src/store/store.ts', `import { open } from 'lmdb';`],
    ['src/kv/open.ts', `const lmdb = await import('lmdb');`],
    ['src/kv/open.ts', `const lmdb = require('lmdb');`],
    ['src/migration/backfill.ts', `import { Piscina } from 'piscina';`],
    ['src/cluster/bus.ts', `import type { NatsConnection } from 'nats';`],
    ['src/model/define.ts', `import pad from '@some/package/left';`],
  ])('refuses in %s: %s', (file, source) => {
    expect(found(file, source)).toHaveLength(1);
  });

  it.each([
    ['src/kv/embedded/open.ts', `import { open } from 'lmdb';`],
    ['src/ports/pool.ts', `import { Piscina } from 'piscina';`],
    ['src/cluster/nats-bus.ts', `import { connect } from 'nats';`],
    ['src/records/keys.ts', `import { a } from '../kv/kv.ts';\nimport { b } from '../model/data.ts';`],
    ['src/migration/run.ts', `import { migrationMachine } from '../../machines/migration.ts';`],
    ['src/migration/pool.ts', `import type { Task } from '../../workers/transform.ts';`],
    ['machines/node.ts', `import type { MigrationState } from '../src/migration/state.ts';`],
    ['src/model/define.ts', `import { createHash } from 'node:crypto';`],
    ['src/model/define.ts', `/**\n * import { open } from 'lmdb';\n */\n// await import('lmdb')`],
  ])('allows in %s: %s', (file, source) => {
    expect(found(file, source)).toEqual([]);
  });

  it('follows an entry point through the files it loads, not through its types', () => {
    const edges = [
      ...importsOf('src/model/index.ts', `export * from './a.ts';`),
      ...importsOf('src/model/a.ts', `import type { B } from './b.ts';\nimport { c } from './c.ts';`),
      ...importsOf('src/model/c.ts', `import { open } from 'lmdb';`),
    ];
    expect([...reachableFrom('src/model/index.ts', edges)]).toEqual([
      'src/model/index.ts',
      'src/model/a.ts',
      'src/model/c.ts',
      'lmdb',
    ]);
  });
});
