import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { compose, flagOf, linesOf, listOf, natsServices, services } from '../rig/compose.ts';

const read = (path: string) => readFileSync(join(repositoryTop, path), 'utf8');
const service = (name: string) => services.get(name) ?? '';
const healthCheckOf = (name: string) => linesOf(name, 'healthcheck');

describe('docker-compose.yml', () => {
  it('starts FoundationDB and three servers of NATS, and nothing else', () => {
    expect([...services.keys()]).toEqual(['foundationdb', 'nats-1', 'nats-2', 'nats-3']);
  });

  it('pins each image by a whole version: FoundationDB by one of 7.3, all of NATS by the same', () => {
    const images = [...compose.matchAll(/^ {4}image: (.+)$/gm)].map(([, image = '']) => image);
    expect(images).toHaveLength(services.size);
    expect(images.filter((image) => !/^[a-z/]+:\d+\.\d+\.\d+(-[a-z]+)?$/.test(image))).toEqual([]);
    expect(service('foundationdb')).toMatch(/^ {4}image: foundationdb\/foundationdb:7\.3\.\d+$/m);
    const nats = natsServices.map((name) => /^ {4}image: (nats:2\..+)$/m.exec(service(name))?.[1]);
    expect(nats[0]).toBeDefined();
    expect(new Set(nats).size).toBe(1);
  });

  it('publishes ports on loopback alone, each once', () => {
    const ports = [...services.keys()].flatMap((name) => listOf(name, 'ports'));
    expect(ports.filter((port) => !/^127\.0\.0\.1:\d+:\d+$/.test(port))).toEqual([]);
    const onHost = ports.map((port) => port.split(':')[1] ?? '');
    expect(onHost.toSorted()).toEqual(['4222', '4223', '4224', '4500', '8222', '8223', '8224']);
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
    const start = linesOf('foundationdb', 'command');
    expect(start).toContain(`until ${isAvailable}; do`);
    expect(start).toContain("fdbcli --exec 'configure new single ssd'");
    expect(start).toContain('exec /var/fdb/scripts/fdb.bash');
    expect(healthCheckOf('foundationdb')).toContain(isAvailable);
    // What the client says of a cluster that is not.
    expect('The database is unavailable; type `status` for more information.').not.toContain('is available');
  });

  it('keeps what each service stores in a volume of its own', () => {
    expect(listOf('foundationdb', 'volumes')).toEqual(['foundationdb:/var/fdb/data']);
    for (const name of natsServices) expect(listOf(name, 'volumes')).toEqual([`${name}:/data`]);
    const volumes = /^volumes:\n((?: {2}.*\n)+)/m.exec(compose)?.[1];
    expect(volumes).toBe([...services.keys()].map((name) => `  ${name}:\n`).join(''));
  });

  it('is the cluster that .config/docker.cluster names, and the README with it', () => {
    const cluster = read('.config/docker.cluster').trim();
    expect(service('foundationdb')).toContain(`FDB_CLUSTER_FILE_CONTENTS: ${cluster}\n`);
    expect(cluster).toMatch(/@127\.0\.0\.1:4500$/);
    // The server names itself to its clients: inside and outside it must have the same port.
    expect(listOf('foundationdb', 'ports')).toEqual(['127.0.0.1:4500:4500']);
    const command = 'FDB_CLUSTER_FILE=.config/docker.cluster npm run test:fdb';
    for (const text of [compose, read('README.md')]) {
      expect(text).toContain('docker compose up -d --wait');
      expect(text).toContain(command);
    }
  });
});

describe('each of its NATS servers', () => {
  it('is called as its service is, in one cluster, and routed to the other two', () => {
    expect(natsServices).toHaveLength(3);
    for (const name of natsServices) {
      expect(flagOf(name, 'server_name')).toBe(name);
      expect(flagOf(name, 'cluster_name')).toBe('godwit');
      expect(flagOf(name, 'cluster')).toBe('nats://0.0.0.0:6222');
      const others = natsServices.filter((other) => other !== name);
      expect(flagOf(name, 'routes')).toBe(others.map((other) => `nats://${other}:6222`).join(','));
    }
  });

  it('has JetStream, which stores in its volume', () => {
    for (const name of natsServices) {
      expect(listOf(name, 'command')).toContain('--jetstream');
      expect(listOf(name, 'volumes')).toContain(`${name}:${flagOf(name, 'store_dir')}`);
    }
  });

  it('tells clients on the host the address that they reach it by', () => {
    for (const name of natsServices) {
      expect(listOf(name, 'ports')).toContain(`${flagOf(name, 'client_advertise')}:4222`);
    }
  });

  it('is healthy when the cluster has a leader of JetStream', () => {
    for (const name of natsServices) {
      const address = `http://127.0.0.1:${flagOf(name, 'http_port')}/healthz?js-server-only=true`;
      expect(healthCheckOf(name)).toContain(`'${address}'`);
    }
  });
});
