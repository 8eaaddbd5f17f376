import { describe, expect, it } from 'vitest';
import type { MessageBus } from '../../../src/cluster/bus.ts';
import { checkOptions, serversOf } from '../../../src/store/options.ts';

const given = { database: 'memory:', subspace: ['a'], dataModelsById: {} };

/** What an application has to write, and no more. */
const smallest: MessageBus = {
  publish: () => undefined,
  subscribe: () => ({ unsubscribe: () => undefined }),
  close: () => Promise.resolve(),
};

describe('the option bus', () => {
  it.each([smallest, 'nats://localhost', 'nats://127.0.0.1:4222', 'nats://[::1]:4222, nats://b:4222'])(
    'takes %j',
    (bus) => {
      expect(checkOptions({ ...given, bus }).bus).toBe(bus);
    },
  );

  it.each([
    '',
    'localhost:4222',
    'http://a',
    'nats://',
    'nats://a b',
    'nats://a,',
    'nats://a/b',
    'nats://a,b',
  ])('refuses %j', (bus) => {
    expect(() => checkOptions({ ...given, bus })).toThrow('bus must be a MessageBus, or');
  });

  it('refuses credentials, which the client would not use, and does not repeat them', () => {
    const check = () => checkOptions({ ...given, bus: 'nats://user:secret@a:4222' });
    expect(check).toThrow('without credentials');
    expect(check).not.toThrow('secret');
  });

  it('has servers parted by commas', () => {
    expect(serversOf('nats://a:1, nats://b:2')).toEqual(['nats://a:1', 'nats://b:2']);
  });
});
