import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import type { LeaseHandle, LeaseRequest, MigrationLease } from '../../src/migration/lease.ts';
import { createFaultyDatabase } from '../rig/faulty-database.ts';
import type { LeasePlace } from '../rig/leases.ts';
import { createTestDatabase } from '../rig/test-database.ts';

/** Makes a lease as one process has it: those of one database compete. */
export type LeaseMaker = (place: LeasePlace, process: string) => MigrationLease;

const never = new AbortController().signal;

/** What every `MigrationLease` has to do, whoever wrote it: a migration is only as safe as the lease under it. */
export function describeMigrationLease(name: string, create: LeaseMaker): void {
  describe(`migration lease: ${name}`, () => {
    let place: LeasePlace;
    let database: KeyValueDatabase;
    let key: Buffer;
    let mine: MigrationLease;
    let yours: MigrationLease;
    const held: LeaseHandle[] = [];
    beforeEach(() => {
      place = createTestDatabase();
      database = place.database;
      key = Buffer.concat([place.keys.prefix, Buffer.from('written by the owner')]);
      mine = create(place, 'mine');
      yours = create(place, 'yours');
    });
    afterEach(async () => {
      await Promise.all(held.splice(0).map((handle) => handle.release()));
      await database.close();
    });

    const requestOf = (more: Partial<LeaseRequest> = {}): LeaseRequest => ({
      modelId: 1,
      migrationId: 'City:1.0->2.0#abc',
      nodeId: 'node',
      signal: never,
      ...more,
    });
    const acquire = (lease: MigrationLease, more?: Partial<LeaseRequest>) => lease.acquire(requestOf(more));
    const own = async (lease: MigrationLease, more?: Partial<LeaseRequest>): Promise<LeaseHandle> => {
      const handle = await acquire(lease, more);
      if (handle.refused === true) throw new Error('the lease was refused');
      held.push(handle);
      return handle;
    };
    const isRefused = async (lease: MigrationLease) => (await acquire(lease)).refused === true;
    const write = (handle: LeaseHandle, meanwhile: () => Promise<unknown> = async () => undefined) =>
      database.transact(async (tx) => {
        await handle.guard(tx);
        await meanwhile();
        tx.set(key, Buffer.from(String(handle.epoch)));
      });
    const written = async () => (await database.transact((tx) => tx.get(key)))?.toString();

    it('is granted to one, and refused to everybody else with the name of the holder', async () => {
      await own(mine, { nodeId: 'node-a' });
      const refused = await acquire(yours, { nodeId: 'node-b' });
      expect(refused.refused).toBe(true);
      expect(refused.refused === true ? refused.holder?.nodeId : undefined).toBe('node-a');
    });

    it('is granted to one of many who ask at the same time', async () => {
      const leases = Array.from({ length: 8 }, (_, n) => create(place, `process ${n}`));
      const answers = await Promise.all(leases.map((lease) => acquire(lease)));
      const granted = answers.flatMap((answer) => (answer.refused === true ? [] : [answer]));
      held.push(...granted);
      expect(granted).toHaveLength(1);
    });

    it('belongs to a model: another one has another', async () => {
      await own(mine);
      expect((await own(yours, { modelId: 2 })).epoch).toBe(1);
    });

    it('has a greater epoch with each owner', async () => {
      const epochs: number[] = [];
      for (const lease of [mine, yours, yours, mine]) {
        const handle = await own(lease);
        epochs.push(handle.epoch);
        await handle.release();
      }
      expect(epochs).toEqual(epochs.toSorted((a, b) => a - b));
      expect(new Set(epochs).size).toBe(4);
    });

    it('lets its owner write, and nobody who owned it before', async () => {
      const former = await own(mine);
      await write(former);
      await former.release();
      await expect(write(former)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      const owner = await own(yours);
      await expect(write(former)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      await write(owner);
      expect(await written()).toBe(String(owner.epoch));
    });

    it('lets no transaction commit that began under an earlier owner', async () => {
      const former = await own(mine);
      let owner: LeaseHandle | undefined;
      const writing = write(former, async () => {
        if (owner !== undefined) return;
        await former.release();
        owner = await own(yours);
      });
      await expect(writing).rejects.toMatchObject({ code: 'LEASE_LOST' });
      expect(await written()).toBeUndefined();
    });

    it('can be released twice, and a former owner takes nothing from the next', async () => {
      const former = await own(mine);
      await former.release();
      const owner = await own(yours);
      await former.release();
      await write(owner);
      expect(await isRefused(mine)).toBe(true);
    });

    it('wakes whoever waits for it when it is released', async () => {
      const owner = await own(mine);
      const refused = await acquire(yours);
      if (refused.refused !== true) throw new Error('it was granted');
      const worthIt = refused.worthRetrying(never);
      await owner.release();
      await worthIt;
      expect((await own(yours)).epoch).toBeGreaterThan(owner.epoch);
    });

    it('lets whoever waits for it leave', async () => {
      await own(mine);
      const refused = await acquire(yours);
      if (refused.refused !== true) throw new Error('it was granted');
      const leaving = new AbortController();
      const waiting = refused.worthRetrying(leaving.signal);
      leaving.abort();
      expect(await waiting).toBeUndefined();
    });

    it('is left as it was by an attempt that is given up', async () => {
      const attempt = acquire(mine, { signal: AbortSignal.abort() });
      await expect(attempt).rejects.toMatchObject({ name: 'AbortError' });
      expect((await own(yours)).epoch).toBe(1);
    });

    it('takes what has to be true with the ownership into the same transaction, or leaves it to the caller', async () => {
      const prepared = Buffer.concat([place.keys.prefix, Buffer.from('prepared')]);
      let calls = 0;
      const prepare = (tx: Transaction) => {
        calls += 1;
        tx.set(prepared, Buffer.from('yes'));
        return Promise.resolve();
      };
      await own(mine, { prepare });
      await acquire(yours, { prepare: () => Promise.reject(new Error('a lease that is held was prepared')) });
      const found = await database.transact((tx) => tx.get(prepared));
      expect(found !== undefined).toBe(calls > 0);
    });

    it('stays free when its preparation throws', async () => {
      const refusal = new Error('there is nothing to own');
      const attempt = await acquire(mine, { prepare: () => Promise.reject(refusal) }).catch(
        (error: unknown) => error,
      );
      if (attempt !== refusal) held.push(attempt as LeaseHandle);
      expect(await isRefused(yours)).toBe(attempt !== refusal);
    });

    it.each(['unknownApplied', 'unknownLost'] as const)(
      'is held once although the answer to its commit was lost (%s)',
      async (fault) => {
        let struck = false;
        const faulty = createFaultyDatabase(database, ({ kind }) => {
          if (kind !== 'commit' || struck) return undefined;
          struck = true;
          return fault;
        });
        const owner = await own(create({ ...place, database: faulty }, 'struck'));
        expect(struck).toBe(true);
        expect(await isRefused(yours)).toBe(true);
        await write(owner);
        expect(await written()).toBe(String(owner.epoch));
      },
    );

    it('can be explained while it is held and afterwards', async () => {
      expect((await mine.explain(1))?.held ?? false).toBe(false);
      const owner = await own(mine, { nodeId: 'node-a' });
      expect(await yours.explain(1)).toMatchObject({
        nodeId: 'node-a',
        migrationId: 'City:1.0->2.0#abc',
        epoch: owner.epoch,
        held: true,
      });
      await owner.release();
      expect(await yours.explain(1)).toMatchObject({ epoch: owner.epoch, held: false });
    });

    it('ends at once for an owner from whom an operator takes it', async () => {
      const owner = await own(mine, { nodeId: 'node-a' });
      if (yours.forceRelease === undefined) return;
      const taken = await yours.forceRelease({
        modelId: 1,
        record: (tx, displaced) => tx.set(key, Buffer.from(`taken from ${displaced.nodeId}`)),
      });
      expect(taken).toMatchObject({ nodeId: 'node-a', epoch: owner.epoch, held: true });
      expect(await written()).toBe('taken from node-a');
      await expect(write(owner)).rejects.toMatchObject({ code: 'LEASE_LOST' });
      await aborted(owner.lost);
      expect((await own(yours)).epoch).toBeGreaterThan(owner.epoch);
    });

    it('is taken from nobody by an operator when nobody holds it', async () => {
      if (yours.forceRelease === undefined) return;
      const record = () => {
        throw new Error('something was recorded');
      };
      expect(await yours.forceRelease({ modelId: 1, record })).toBeUndefined();
      const owner = await own(mine);
      await owner.release();
      expect(await yours.forceRelease({ modelId: 1, record })).toBeUndefined();
    });
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
