import { afterEach, beforeEach, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../../src/cluster/bus.ts';
import { serveControl } from '../../../src/cluster/control-service.ts';
import { localBus } from '../../../src/cluster/local-bus.ts';
import { systemClock } from '../../../src/ports/clock.ts';

let bus: WholeMessageBus;
let carriedOut: number;
let namesakes: readonly string[];
beforeEach(() => {
  bus = localBus();
  carriedOut = 0;
  namesakes = [];
  serveControl({
    bus,
    clock: systemClock,
    subject: 'godwit.geo.control',
    service: { name: 'godwit', version: '1.0.0', description: 'geo', metadata: {} },
    self: { store: 'geo', databaseId: 'own', nodeId: 'a' },
    namesakes: () => namesakes,
    async carryOut() {
      carriedOut += 1;
      return Promise.resolve({ accepted: true });
    },
    onFailure: () => undefined,
  });
});
afterEach(() => bus.close());

async function ask(body: object): Promise<unknown> {
  const payload = Buffer.from(JSON.stringify(body));
  const reply = await bus.request('godwit.geo.control.1.pause', payload, { timeoutMs: 5_000 });
  return JSON.parse(Buffer.from(reply).toString());
}

it('refuses what names no database where there are several, and carries out what names its own', async () => {
  expect(await ask({})).toMatchObject({ accepted: true });
  namesakes = ['other'];
  expect(await ask({})).toMatchObject({ accepted: false, code: 'STORE_AMBIGUOUS', retryable: false });
  expect(carriedOut).toBe(1);
  expect(await ask({ databaseId: 'own' })).toMatchObject({ accepted: true });
  expect(carriedOut).toBe(2);
});
