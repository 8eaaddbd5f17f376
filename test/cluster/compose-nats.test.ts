import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { NatsConnection } from 'nats';
import { connect } from 'nats';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { linesOf, listOf, natsServices } from '../rig/compose.ts';
import { natsServerBinary } from '../rig/nats-server.ts';
import { waitUntil } from '../rig/operators.ts';
import type { TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

interface Ports {
  readonly client: number;
  readonly route: number;
  readonly monitor: number;
}

/** That nobody has now; together, so that no two are the same. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

describe.runIf(natsServerBinary !== undefined)('the NATS servers of docker-compose.yml', () => {
  let directory: TemporaryDirectory;
  const ports = new Map<string, Ports>();
  const children = new Map<string, ChildProcess>();
  let connection: NatsConnection | undefined;

  const portsOf = (name: string): Ports => ports.get(name) ?? { client: 0, route: 0, monitor: 0 };

  /** The flags of the file, with this machine's places in place of the containers'. */
  const flagsHere = (name: string): readonly string[] => {
    const own = portsOf(name);
    const here = listOf(name, 'command').map((flag) =>
      flag
        .replace('0.0.0.0:6222', `127.0.0.1:${own.route}`)
        .replaceAll(/(nats-\d):6222/g, (_, other: string) => `127.0.0.1:${portsOf(other).route}`)
        .replace(/127\.0\.0\.1:422\d$/, `127.0.0.1:${own.client}`)
        .replace(/^--http_port=8222$/, `--http_port=${own.monitor}`)
        .replace(/^--store_dir=\/data$/, `--store_dir=${join(directory.path, name)}`),
    );
    return ['--addr=127.0.0.1', `--port=${own.client}`, ...here];
  };

  const start = (name: string) => {
    const child = spawn(natsServerBinary ?? 'nats-server', flagsHere(name), { stdio: 'ignore' });
    children.set(name, child);
  };

  const monitor = (name: string, path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${portsOf(name).monitor}${path}`);

  /** What the health check of the file says. */
  const health = async (name: string): Promise<number | undefined> => {
    const [, path = ''] = /http:\/\/127\.0\.0\.1:8222(\/[^']+)'/.exec(linesOf(name, 'healthcheck')) ?? [];
    // It may not listen yet.
    return (await monitor(name, path).catch(() => undefined))?.status;
  };

  const becomes = (name: string, status: number): Promise<void> =>
    waitUntil(`the health of ${name} is ${status}`, async () => {
      expect(children.get(name)?.exitCode).toBeNull();
      return (await health(name)) === status;
    });

  beforeEach(async () => {
    directory = createTemporaryDirectory('compose-nats');
    const free = await freePorts(3 * natsServices.length);
    natsServices.forEach((name, at) => {
      const [client = 0, route = 0, monitor = 0] = free.slice(3 * at);
      ports.set(name, { client, route, monitor });
    });
  });

  afterEach(async () => {
    await connection?.close();
    await Promise.all(
      [...children.values()].map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const gone = once(child, 'exit');
        child.kill('SIGKILL');
        await gone;
      }),
    );
    children.clear();
    directory.remove();
  });

  it('are healthy once they are a cluster with a leader of JetStream, and clients of one know all', async () => {
    const [first = '', ...others] = natsServices;
    start(first);
    await becomes(first, 503);
    for (const name of others) start(name);
    for (const name of natsServices) await becomes(name, 200);

    const leaders = new Set<unknown>();
    for (const name of natsServices) {
      const routes = (await (await monitor(name, '/routez')).json()) as { num_routes: number };
      expect(routes.num_routes).toBeGreaterThanOrEqual(2);
      const { meta_cluster } = (await (await monitor(name, '/jsz')).json()) as {
        meta_cluster: { name: string; leader: string; cluster_size: number };
      };
      expect(meta_cluster).toMatchObject({ name: 'godwit', cluster_size: 3 });
      leaders.add(meta_cluster.leader);
    }
    expect(leaders.size).toBe(1);
    expect(natsServices).toContain([...leaders][0]);

    connection = await connect({ servers: `127.0.0.1:${portsOf(first).client}` });
    const everywhere = natsServices.map((name) => `127.0.0.1:${portsOf(name).client}`);
    expect(connection.info?.connect_urls?.toSorted()).toEqual(everywhere.toSorted());
    const manager = await connection.jetstreamManager();
    const { cluster } = await manager.streams.add({ name: 'kept', subjects: ['kept'], num_replicas: 3 });
    const holders = [cluster?.leader ?? '', ...(cluster?.replicas ?? []).map(({ name }) => name)];
    expect(holders.toSorted()).toEqual(natsServices);
  }, 60_000);
});
