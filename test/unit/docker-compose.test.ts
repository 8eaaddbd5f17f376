import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';

const read = (path: string) => readFileSync(join(repositoryTop, path), 'utf8');
const compose = read('docker-compose.yml');

/** Services by name: the lines below each. */
const services = new Map(
  (/^services:\n((?: .*\n|\n)+)/m.exec(compose)?.[1] ?? '')
    .split(/^(?= {2}\w)/m)
    .map((text) => [/^ {2}(\w+):/.exec(text)?.[1] ?? '', text]),
);
const service = (name: string) => services.get(name) ?? '';
const healthCheckOf = (name: string) => /^ {4}healthcheck:\n((?: {6}.*\n)+)/m.exec(service(name))?.[1] ?? '';

describe('docker-compose.yml', () => {
  it('starts FoundationDB and NATS, and nothing else', () => {
    expect([...services.keys()]).toEqual(['foundationdb', 'nats']);
  });

  it('pins each image by a whole version: FoundationDB by one of 7.3', () => {
    const images = [...compose.matchAll(/^ {4}image: (.+)$/gm)].map(([, image = '']) => image);
    expect(images).toHaveLength(services.size);
    expect(images.filter((image) => !/^[a-z/]+:\d+\.\d+\.\d+(-[a-z]+)?$/.test(image))).toEqual([]);
    expect(service('foundationdb')).toMatch(/^ {4}image: foundationdb\/foundationdb:7\.3\.\d+$/m);
    expect(service('nats')).toMatch(/^ {4}image: nats:2\./m);
  });

  it('publishes ports on loopback alone', () => {
    const ports = [...compose.matchAll(/^ {6}- (\S+:\d+)$/gm)].map(([, port = '']) => port);
    expect(ports.length).toBeGreaterThan(1);
    expect(ports.filter((port) => !/^127\.0\.0\.1:(\d+):\1$/.test(port))).toEqual([]);
  });

  it('checks the health of each service, and changes nothing by it', () => {
    for (const name of services.keys()) {
      expect(healthCheckOf(name)).toMatch(/^ {6}test: \[/m);
      for (const key of ['interval', 'timeout', 'retries']) expect(healthCheckOf(name)).toContain(`${key}: `);
      expect(healthCheckOf(name)).not.toContain('configure');
    }
  });

  it('configures a fresh cluster and asks until it is available, as the health check does', () => {
    const isAvailable = "fdbcli --exec 'status minimal' --timeout 5 | grep -q 'is available'";
    const start = /^ {4}command:\n((?: {6}.*\n)+)/m.exec(service('foundationdb'))?.[1] ?? '';
    expect(start).toContain(`until ${isAvailable}; do`);
    expect(start).toContain("fdbcli --exec 'configure new single ssd'");
    expect(start).toContain('exec /var/fdb/scripts/fdb.bash');
    expect(healthCheckOf('foundationdb')).toContain(isAvailable);
    // What the client says of a cluster that is not.
    expect('The database is unavailable; type `status` for more information.').not.toContain('is available');
  });

  it('keeps the data of the cluster in a volume', () => {
    expect(service('foundationdb')).toContain('- foundationdb:/var/fdb/data');
    expect(compose).toMatch(/^volumes:\n {2}foundationdb:\n/m);
  });

  it('is the cluster that .config/docker.cluster names, and the README with it', () => {
    const cluster = read('.config/docker.cluster').trim();
    expect(service('foundationdb')).toContain(`FDB_CLUSTER_FILE_CONTENTS: ${cluster}\n`);
    expect(cluster).toMatch(/@127\.0\.0\.1:4500$/);
    const command = 'FDB_CLUSTER_FILE=.config/docker.cluster npm run test:fdb';
    for (const text of [compose, read('README.md')]) {
      expect(text).toContain('docker compose up -d --wait');
      expect(text).toContain(command);
    }
  });
});
