import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { natsBus } from '../../../src/cluster/nats-bus.ts';
import { limits } from '../../../src/limits.ts';
import type { DeafServer } from '../../rig/deaf-nats-server.ts';
import { startDeafServer } from '../../rig/deaf-nats-server.ts';
import { waitUntil } from '../../rig/operators.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

let server: DeafServer;
beforeEach(async () => {
  server = await startDeafServer();
});
afterEach(() => server.close());

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('what a server does not read', () => {
  it('is kept up to its bytes, and the message of one byte more is dropped and counted', async () => {
    const { value } = limits.cluster.pendingBytes;
    const clock = createVirtualClock();
    const bus = natsBus({ servers: server.address }, { clock });
    await waitUntil('it is connected', () => bus.state.type === 'connected');
    const part = Buffer.alloc(value / 8 - 1);
    // Each with a subject of one byte. The server is asked whether it has them, and never says so.
    for (let n = 0; n < 8; n += 1) {
      bus.publish('s', part);
      await turn();
    }
    expect(bus.counts.dropped).toBe(0);
    bus.publish('s', Buffer.alloc(0));
    expect(bus.counts.dropped).toBe(1);
    const closed = bus.close();
    clock.advance(limits.cluster.drainMs.value);
    await closed;
  });
});

describe('the last words of a bus', () => {
  it('are waited for as long as they may take, and not a millisecond longer', async () => {
    const { value } = limits.cluster.drainMs;
    const clock = createVirtualClock();
    const bus = natsBus({ servers: server.address }, { clock });
    await waitUntil('it is connected', () => bus.state.type === 'connected');
    bus.publish('s', Buffer.from('last words'));
    let isClosed = false;
    const closed = bus.close().then(() => (isClosed = true));
    clock.advance(value - 1);
    for (let n = 0; n < 10; n += 1) await turn();
    expect(isClosed).toBe(false);
    clock.advance(1);
    await closed;
    expect(isClosed).toBe(true);
  });
});
