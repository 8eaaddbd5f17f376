import type { StoreKeys } from '../../src/records/keys.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

/** Where the processes of a cluster meet: the only file here that knows which database that is. */
export interface ClusterAddress {
  /** As `StoreOptions.database` takes it. */
  readonly database: string;
  readonly subspace: readonly string[];
  /** The shortest that the engine allows. */
  readonly leaseTimeoutMs: number;
}

export interface ClusterPlace {
  readonly address: ClusterAddress;
  /** When nobody has it open any more. Twice is fine. */
  remove(): void;
}

export function createClusterPlace(purpose: string): ClusterPlace {
  const directory = createTemporaryDirectory(purpose);
  return {
    address: { database: `embedded:${directory.path}`, subspace: ['crates'], leaseTimeoutMs: 1_000 },
    remove: () => directory.remove(),
  };
}

export const crateModelId = 1;
export const keysAt = ({ subspace }: ClusterAddress): StoreKeys => createStoreKeys(subspace);

/** What the processes testify of their commits lies beside the store, so that both can be in one transaction. */
export const testimonyAt = ({ subspace }: ClusterAddress): Buffer =>
  createStoreKeys([...subspace, 'testimony']).prefix;
