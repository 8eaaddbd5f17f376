import { afterEach, beforeEach, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import { localBus } from '../../src/cluster/local-bus.ts';
import type { Namesakes } from '../../src/cluster/namesakes.ts';
import { watchForNamesakes } from '../../src/cluster/namesakes.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';

const subject = 'godwit.geo.node';

let bus: WholeMessageBus;
let clock: ReturnType<typeof createVirtualClock>;
let said: { readonly nodeId: string; readonly is: string }[];
let watching: Namesakes[];
beforeEach(() => {
  bus = localBus();
  clock = createVirtualClock();
  said = [];
  watching = [];
  bus.subscribe(subject, (payload) => said.push(JSON.parse(Buffer.from(payload).toString()) as never));
});
afterEach(async () => {
  for (const one of watching) one.end();
  await bus.close();
});

function watchAs(databaseId: string, nodeId: string, found: string[] = []): Namesakes {
  const self = { store: 'geo', databaseId, nodeId, session: `s-${nodeId}` };
  const one = watchForNamesakes({ bus, subject, self, clock, onFound: (other) => found.push(other) });
  watching.push(one);
  return one;
}

/** Messages are delivered in microtasks. */
const delivered = () => new Promise(setImmediate);

it('lets nodes of two databases know of each other, whichever came first, and says it once', async () => {
  const found: string[] = [];
  const one = watchAs('d-1', 'a', found);
  const other = watchAs('d-2', 'b');
  const friend = watchAs('d-1', 'c');
  await delivered();
  expect([one, other, friend].map(({ databaseIds }) => databaseIds)).toEqual([['d-2'], ['d-1'], ['d-2']]);
  expect(found).toEqual(['d-2']);
});

it('tells a node that was away alone of those who were not', async () => {
  const one = watchAs('d-1', 'a');
  const other = watchAs('d-2', 'b');
  await delivered();
  for (let round = 0; round < 3; round += 1) {
    one.renew();
    expect(one.databaseIds).toEqual([]);
    await delivered();
    await clock.advanceAsync(100);
    await delivered();
    expect([one.databaseIds, other.databaseIds]).toEqual([['d-2'], ['d-1']]);
  }
});

it('answers many who ask at once together', async () => {
  watchAs('d-1', 'a');
  await delivered();
  said.length = 0;
  const ask = (n: number) =>
    bus.publish(
      subject,
      Buffer.from(JSON.stringify({ v: 1, type: 'node', is: 'here', asks: true, databaseId: `o-${n}` })),
    );
  for (let n = 0; n < 500; n += 1) ask(n);
  await delivered();
  await clock.advanceAsync(100);
  await clock.advanceAsync(100);
  await delivered();
  expect(said.filter(({ nodeId }) => nodeId === 'a')).toHaveLength(2);
});

it('remembers sixteen, and no id that is longer than any', async () => {
  const one = watchAs('d-1', 'a');
  const tell = (databaseId: unknown) =>
    bus.publish(subject, Buffer.from(JSON.stringify({ v: 1, type: 'node', is: 'here', databaseId })));
  for (const id of ['x'.repeat(129), 5, null, {}, 'd-1']) tell(id);
  bus.publish(subject, Buffer.from('null'));
  bus.publish(subject, Buffer.from('{'));
  await delivered();
  expect(one.databaseIds).toEqual([]);
  for (let n = 0; n < 500; n += 1) tell(`o-${n}`);
  await delivered();
  expect(one.databaseIds).toHaveLength(16);
});
