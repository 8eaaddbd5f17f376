import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'nats';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import { controlMigration, followMigrations } from '../../src/nats.ts';
import type { Certificates } from '../rig/certificates.ts';
import { createCertificates, hasOpenssl } from '../rig/certificates.ts';
import type { NatsPlace } from '../rig/nats-place.ts';
import { openNatsPlace, openSteered } from '../rig/nats-place.ts';
import { natsServerBinary } from '../rig/nats-server.ts';
import type { World } from '../rig/operators.ts';
import { createBarrier, createWorld, waitForStatus, waitUntil } from '../rig/operators.ts';

const isPossible = natsServerBinary !== undefined && hasOpenssl;
if (natsServerBinary !== undefined && !hasOpenssl) {
  if (process.env['GODWIT_REQUIRE'] === 'nats')
    throw new Error('openssl makes the certificates: install it.');
  process.stderr.write('\n!!! No openssl on the PATH: a bus over TLS is NOT TESTED.\n\n');
}

let world: World;
let place: NatsPlace | undefined;
beforeEach(() => {
  world = createWorld();
});
afterEach(async () => {
  await world.close();
  await place?.close();
  place = undefined;
});

/** A store on one bus is paused, followed and resumed from another one. Answers what failed on either. */
async function steer(bus: WholeMessageBus, outside: WholeMessageBus): Promise<readonly number[]> {
  const barrier = createBarrier();
  await world.fill(60);
  barrier.shut();
  const store = await openSteered(world, barrier, { bus });
  const following = followMigrations(outside, { store: 'geo' });
  const control = { store: 'geo', model: 1, timeoutMs: 20_000 };
  expect(await controlMigration(outside, { ...control, verb: 'pause' })).toMatchObject({ accepted: true });
  barrier.open();
  await waitForStatus(store, 'Paused');
  expect(await controlMigration(outside, { ...control, verb: 'resume' })).toMatchObject({ accepted: true });
  for await (const one of following) {
    if (one.type === 'status' && one.status.state === 'Idle') break;
  }
  await store.close();
  return [bus.counts.failures, outside.counts.failures];
}

/** Why a bus has no connection, which it tries to get again and again. */
async function refusalOf(options: ConnectionOptions): Promise<string> {
  const bus = place?.bus({ timeout: 1_000, ...options });
  await waitUntil('it is refused several times', () => (bus?.counts.failures ?? 0) >= 3);
  const { type, lastError } = bus?.state ?? {};
  return `${type ?? ''}, ${lastError?.code ?? ''}: ${lastError?.message ?? ''}`;
}

describe.runIf(natsServerBinary !== undefined)('a bus with a token', () => {
  it('carries events and controls, and whoever has another one is refused and tries again', async () => {
    place = await openNatsPlace('authorization { token: "s3cr3t-of-all" }');
    const token = { token: 's3cr3t-of-all' };
    expect(await steer(await place.connectedBus(token), await place.connectedBus(token))).toEqual([0, 0]);
    expect(await refusalOf({ token: 'another' })).toMatch(/^reconnecting, AUTHORIZATION_VIOLATION/);
    expect(await refusalOf({})).toMatch(/^reconnecting, AUTHORIZATION_VIOLATION/);
  });
});

describe.runIf(isPossible)('a bus over TLS', () => {
  let certificates: Certificates;
  beforeAll(() => {
    certificates = createCertificates();
  });
  afterAll(() => certificates.remove());

  const open = (more = ''): Promise<NatsPlace> =>
    openNatsPlace(
      `tls { cert_file: "${certificates.server.cert}", key_file: "${certificates.server.key}"${more} }`,
    );

  it('verifies the server by the authority that it is given, and carries events and controls', async () => {
    place = await open();
    const tls = { caFile: certificates.ca };
    const bus = await place.connectedBus({ tls });
    expect(await steer(bus, await place.connectedBus({ tls }))).toEqual([0, 0]);
    // And so behind a restart.
    await place.server.kill();
    await waitUntil('it has lost the server', () => bus.state.type === 'reconnecting');
    await place.server.start();
    await waitUntil('it is back', () => bus.state.type === 'connected');
  });

  it.each([
    ['without an authority', () => ({})],
    ['with an authority that did not sign it', () => ({ tls: { ca: otherAuthority() } })],
  ])('does not connect %s, keeps trying, and shows why', async (_, options) => {
    place = await open();
    expect(await refusalOf(options())).toMatch(/^reconnecting, .*certificate/);
  });

  const otherAuthority = (): string => {
    const other = createCertificates();
    try {
      return readFileSync(other.ca, 'utf8');
    } finally {
      other.remove();
    }
  };

  it('shows its own certificate where the server wants one', async () => {
    place = await open(`, ca_file: "${certificates.ca}", verify: true`);
    const caFile = certificates.ca;
    const tls = { caFile, certFile: certificates.client.cert, keyFile: certificates.client.key };
    expect(await steer(await place.connectedBus({ tls }), await place.connectedBus({ tls }))).toEqual([0, 0]);
    expect(await refusalOf({ tls: { caFile } })).toMatch(/^reconnecting, \w+: no connection/);
  });
});
