import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import type { LeaseHandle, MigrationLease } from '../../../src/migration/lease.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';
import { createFaultyDatabase } from '../../rig/faulty-database.ts';
import { createDefaultLease } from '../../rig/leases.ts';
import { withTransactions } from '../../rig/overriding.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const modelId = 1;
const heartbeatMs = 250;
const keys = createStoreKeys(['test']);

let database: KeyValueDatabase;
beforeEach(() => {
  database = openMemoryDatabase();
});
afterEach(() => database.close());

/** A node with a clock of its own. */
function createNode(name: string, timeoutMs: number, seen = database) {
  const clock = createVirtualClock();
  return {
    clock,
    lease: createDefaultLease({ database: seen, keys }, name, { clock, timeoutMs, heartbeatMs }),
  };
}

const ask = (lease: MigrationLease) =>
  lease.acquire({ modelId, migrationId: 'm', nodeId: 'n', signal: new AbortController().signal });

async function own(lease: MigrationLease): Promise<LeaseHandle> {
  const answer = await ask(lease);
  if (answer.refused === true) throw new Error('the lease was refused');
  return answer;
}

/** Asks with every heartbeat; answers for how long it had to, in milliseconds of its own clock. */
async function askUntilGranted({ clock, lease }: ReturnType<typeof createNode>): Promise<number> {
  const beganAtMs = clock.monotonicMs();
  for (;;) {
    const answer = await ask(lease);
    if (answer.refused !== true) {
      await answer.release();
      return clock.monotonicMs() - beganAtMs;
    }
    clock.advance(heartbeatMs);
  }
}

describe('an owner whose time stands still', () => {
  it.each([
    { owner: 1_000, contender: 1_000, watched: 1_000 },
    { owner: 3_000, contender: 1_000, watched: 3_000 },
    { owner: 1_000, contender: 3_000, watched: 3_000 },
  ])(
    'is succeeded once $watched ms were watched, where it has $owner and the contender $contender',
    async ({ owner, contender, watched }) => {
      await own(createNode('owner', owner).lease);
      expect(await askUntilGranted(createNode('contender', contender))).toBe(watched);
    },
  );

  it('is not succeeded for time in which the contender stood still itself', async () => {
    await own(createNode('owner', 1_000).lease);
    const contender = createNode('contender', 1_000);
    await ask(contender.lease);
    contender.clock.advance(60_000);
    expect((await ask(contender.lease)).refused).toBe(true);
    // Two polls were granted for it.
    expect(await askUntilGranted(contender)).toBe(1_000 - 2 * heartbeatMs);
  });
});

describe('an owner who is displaced', () => {
  it('is named by its session where it was silent, and not where it was told to go', async () => {
    const takes = async (name: string, displaces: boolean) => {
      const { lease, clock } = createNode(name, 1_000);
      let named: string | undefined;
      for (;;) {
        const answer = await lease.acquire({
          modelId,
          migrationId: 'm',
          nodeId: 'n',
          displaces,
          signal: new AbortController().signal,
          prepare: (_tx, { displacedSession }) => {
            named = displacedSession;
            return Promise.resolve();
          },
        });
        if (answer.refused !== true) return named;
        clock.advance(heartbeatMs);
      }
    };
    await own(createNode('first', 1_000).lease);
    expect(await takes('second', false)).toBe('first');
    expect(await takes('third', true)).toBeUndefined();
  });
});

describe('an owner', () => {
  it('counts its time from the beginning of its last beat, however long that took', async () => {
    let arrive = (): void => undefined;
    let way: Promise<void> = Promise.resolve();
    const reached = withTransactions(database, (tx) => tx);
    const node = createNode('owner', 1_000, {
      ...reached,
      transact: async (body, options) => {
        await way;
        return reached.transact(body, options);
      },
    });
    const { lost } = await own(node.lease);
    way = new Promise((resolve) => (arrive = resolve));
    await node.clock.advanceAsync(600);
    arrive();
    await node.clock.advanceAsync(0);
    // The database answers no more. The beat began after 250 ms.
    way = new Promise(() => undefined);
    await node.clock.advanceAsync(399);
    expect(lost.aborted).toBe(false);
    await node.clock.advanceAsync(1);
    expect(lost.aborted).toBe(true);
  });

  it('is named to the operator who takes the lease, although the answer to that commit was lost', async () => {
    await own(createNode('owner', 1_000).lease);
    const faulty = createFaultyDatabase(database, ({ kind, attempt }) =>
      kind === 'commit' && attempt === 0 ? 'unknownApplied' : undefined,
    );
    const taken = await createNode('operator', 1_000, faulty).lease.forceRelease({ modelId });
    expect(taken).toMatchObject({ nodeId: 'n', epoch: 1 });
  });

  it('learns from its next beat that the lease is another one’s', async () => {
    const node = createNode('owner', 1_000);
    const { lost } = await own(node.lease);
    await createNode('operator', 1_000).lease.forceRelease({ modelId });
    await node.clock.advanceAsync(heartbeatMs - 1);
    expect(lost.aborted).toBe(false);
    await node.clock.advanceAsync(1);
    expect(lost.aborted).toBe(true);
  });

  it('has lost its lease when what beats for it crashes, and can still give it back', async () => {
    const node = createNode('owner', 1_000);
    const handle = await own(node.lease);
    const { setTimeout } = node.clock;
    node.clock.setTimeout = () => {
      throw new Error('no timers left');
    };
    await node.clock.advanceAsync(heartbeatMs);
    expect(handle.lost.aborted).toBe(true);
    expect(handle.lost.reason).toMatchObject({ code: 'LEASE_LOST', cause: { message: 'no timers left' } });
    node.clock.setTimeout = setTimeout;
    const { beats } = (await node.lease.explain(modelId)) ?? {};
    await node.clock.advanceAsync(60_000);
    expect(await node.lease.explain(modelId)).toMatchObject({ beats, held: true });
    expect(node.clock.pendingTimers).toBe(0);
    await handle.release();
    expect(await node.lease.explain(modelId)).toMatchObject({ held: false });
  });
});
