import type { StoreKeys, Subspace } from '../../src/records/keys.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

/** Where the processes of a cluster meet. Nobody else here knows which database that is. */
export interface ClusterPlace {
  /** As `StoreOptions.database` takes it. */
  readonly address: string;
  readonly subspace: Subspace;
}

export interface RemovablePlace extends ClusterPlace {
  /** When nobody has it open any more. */
  remove(): Promise<void>;
}

export function createClusterPlace(purpose: string): RemovablePlace {
  const directory = createTemporaryDirectory(purpose);
  return {
    address: `embedded:${directory.path}`,
    subspace: ['crates'],
    remove: () => Promise.resolve(directory.remove()),
  };
}

/** The shortest lease timeout that the engine allows. Milliseconds. */
export const shortestTimeoutMs = ({ address }: ClusterPlace): number =>
  address.startsWith('embedded:') ? 1_000 : 5_000;

export const crateModelId = 1;
export const keysAt = ({ subspace }: ClusterPlace): StoreKeys => createStoreKeys(subspace);

/** What the processes testify of their commits lies beside the store, so that both can be in one transaction. */
export const testimonyAt = ({ subspace }: ClusterPlace): Buffer =>
  createStoreKeys([...subspace, 'testimony']).prefix;
