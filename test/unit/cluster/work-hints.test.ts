import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../../src/cluster/bus.ts';
import { localBus } from '../../../src/cluster/local-bus.ts';
import { createWorkHints } from '../../../src/cluster/work-hints.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { watchUntil } from '../../../src/migration/watch.ts';
import { expectWellFormed } from '../../rig/subject-schemas.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const subject = 'godwit.geo.work';

let bus: WholeMessageBus;
let clock: ReturnType<typeof createVirtualClock>;
let said: number;
beforeEach(() => {
  bus = localBus();
  clock = createVirtualClock();
  said = 0;
  bus.subscribe(subject, (payload) => {
    expectWellFormed(subject, payload);
    said += 1;
  });
});
afterEach(() => bus.close());

/** Messages are delivered in microtasks. */
const delivered = () => new Promise(setImmediate);

function hintsOf(nodeId: string, databaseId = 'd-1') {
  const hints = createWorkHints(clock);
  const end = hints.connect(bus, subject, { store: 'geo', databaseId, nodeId, session: `s-${nodeId}` });
  const heard = { count: 0 };
  const endListening = hints.listen(1, () => {
    heard.count += 1;
  });
  return { hints, heard, end, endListening };
}

describe('a hint that ranges are free', () => {
  it('is heard by the other nodes of the database who listen for the model, and by nobody else', async () => {
    const [one, other, stranger] = [hintsOf('a'), hintsOf('b'), hintsOf('c', 'd-2')];
    one.hints.tell(1);
    one.hints.tell(2);
    await delivered();
    expect([one, other, stranger].map(({ heard }) => heard.count)).toEqual([0, 1, 0]);
    other.endListening();
    clock.advance(1_000);
    one.hints.tell(1);
    await delivered();
    expect(other.heard.count).toBe(1);
  });

  it('is said ten times a second at most, and the last one is not left out', async () => {
    const { hints } = hintsOf('a');
    for (let round = 0; round < 100; round += 1) {
      hints.tell(1);
      clock.advance(10);
    }
    await delivered();
    expect(said).toBeLessThanOrEqual(11);
    clock.advance(200);
    await delivered();
    const told = said;
    hints.tell(1);
    hints.tell(1);
    clock.advance(200);
    await delivered();
    expect(said).toBe(told + 2);
  });

  it('that is still to be said is said when the store ends, and none after it', async () => {
    const { hints, end } = hintsOf('a');
    hints.tell(1);
    hints.tell(1);
    end();
    hints.tell(1);
    clock.advance(1_000);
    await delivered();
    expect(said).toBe(2);
  });

  it.each(['', '{', 'null', '{"v":2,"type":"work","databaseId":"d-1","session":"s","modelId":1}', '{"v":1}'])(
    'is not what somebody else says on its subject: %s',
    async (text) => {
      const quiet = localBus();
      const hints = createWorkHints(clock);
      hints.connect(quiet, subject, { store: 'geo', databaseId: 'd-1', nodeId: 'a', session: 's-a' });
      let heard = 0;
      hints.listen(1, () => {
        heard += 1;
      });
      quiet.publish(subject, Buffer.from(text));
      await delivered();
      expect(heard).toBe(0);
      await quiet.close();
    },
  );

  it('makes who watches look again, without waiting for a change or a poll', async () => {
    const database = openMemoryDatabase();
    const { hints } = hintsOf('a');
    const other = hintsOf('b');
    let looks = 0;
    const over = new AbortController();
    const watching = watchUntil({
      database,
      clock,
      keys: [Buffer.from('k')],
      signal: over.signal,
      onHint: (look) => hints.listen(1, look),
      look: () => {
        looks += 1;
        return Promise.resolve(undefined);
      },
    });
    for (let turn = 0; turn < 5; turn += 1) await delivered();
    expect(looks).toBe(1);
    other.hints.tell(1);
    for (let turn = 0; turn < 5; turn += 1) await delivered();
    expect(looks).toBe(2);
    over.abort();
    await watching;
    await database.close();
  });
});
