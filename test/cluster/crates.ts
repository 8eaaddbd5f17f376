import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { defineModel, string } from '../../src/model/index.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import type { TestPlace } from '../rig/test-place.ts';
import { crateModelId } from './cluster-place.ts';

/** Each version is one mark longer: a crate that was moved twice, or not at all, shows it for ever after. */
export const crateOf = (version: number) =>
  defineModel({
    name: 'Crate',
    version: `${version}.0`,
    key: ['id'],
    properties: {
      id: string({ number: 1, required: true }),
      mark: string({ number: 2, required: true }),
      text: string({ number: 3, required: true }),
    },
  });

/** From any version to the next. */
export const markCrate = (crate: Readonly<Record<string, unknown>>) => ({
  ...crate,
  mark: `${String(crate['mark'])}+`,
});

/** Enough for some thousand crates to fill a range of the ledger. */
const text = '.'.repeat(80);
export const crateId = (n: number) => `crate-${String(n).padStart(6, '0')}`;
export const crateAt = (n: number, version: number) => ({
  id: crateId(n),
  mark: '+'.repeat(version - 1),
  text,
});

const cratesPerTransaction = 2_000;

/** The program of a version, once somebody has migrated to it: it brings no transform. */
export async function openCrates(database: KeyValueDatabase, { subspace }: TestPlace, version: number) {
  const definition = crateOf(version);
  const store = await FoundationDBDataStore.open({
    database,
    subspace,
    dataModelsById: { [crateModelId]: definition },
    persistMigrationAuditEvents: true,
    migrationAuditEventReporter: () => undefined,
  });
  return { store, definition, crates: store.model(definition) };
}

/** Crates of version 1, from 0. */
export async function addCrates(database: KeyValueDatabase, place: TestPlace, total: number): Promise<void> {
  const { store, definition } = await openCrates(database, place, 1);
  for (let from = 0; from < total; from += cratesPerTransaction) {
    const some = Array.from({ length: Math.min(cratesPerTransaction, total - from) }, (_, at) => from + at);
    await store.transact(async (tx) => {
      const crates = tx.model(definition);
      await Promise.all(some.map((n) => crates.add(crateAt(n, 1))));
    });
  }
  await store.close();
}
