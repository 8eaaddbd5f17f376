import type { StoreKeys } from '../../src/records/keys.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import type { TestPlace } from '../rig/test-place.ts';

/** A lease timeout that a test waits out: short, but no shorter than a busy machine bears. Milliseconds. */
export const waitedTimeoutMs = ({ address }: TestPlace): number =>
  address.startsWith('embedded:') ? 2_000 : 5_000;

export const crateModelId = 1;
export const keysAt = ({ subspace }: TestPlace): StoreKeys => createStoreKeys(subspace);

/** What the processes testify of their commits lies beside the store, so that both can be in one transaction. */
export const testimonyAt = ({ subspace }: TestPlace): Buffer =>
  createStoreKeys([...subspace, 'testimony']).prefix;
