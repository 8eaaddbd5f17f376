import { connect } from 'nats';
import { describe } from 'vitest';
import { localBus } from '../../src/cluster/local-bus.ts';
import { natsBus } from '../../src/cluster/nats-bus.ts';
import { natsServerBinary, startNatsServer } from '../rig/nats-server.ts';
import { waitUntil } from '../rig/operators.ts';
import { describeMessageBus } from './bus-suite.ts';

describeMessageBus('in the process', () => {
  const bus = localBus();
  return Promise.resolve({ one: bus, other: bus, dispose: () => Promise.resolve() });
});

describe.runIf(natsServerBinary !== undefined)('with a server', () => {
  describeMessageBus('on NATS, by connections of its own', async () => {
    const server = await startNatsServer();
    const [one, other] = [natsBus({ servers: server.address }), natsBus({ servers: server.address })];
    await waitUntil('both are connected', () =>
      [one, other].every(({ state }) => state.type === 'connected'),
    );
    return { one, other, dispose: () => server.stop() };
  });

  describeMessageBus('on NATS, by connections of the application', async () => {
    const server = await startNatsServer();
    const connections = await Promise.all([0, 1].map(() => connect({ servers: server.address })));
    const [one, other] = connections.map((connection) => natsBus({ connection }));
    if (one === undefined || other === undefined) throw new Error('two were made');
    const dispose = async () => {
      await Promise.all(connections.map((connection) => connection.close()));
      await server.stop();
    };
    return { one, other, dispose };
  });
});
