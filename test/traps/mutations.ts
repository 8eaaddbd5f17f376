import { approvalMutations } from './mutations/approval.ts';
import { busMutations } from './mutations/bus.ts';
import { claimMutations } from './mutations/claims.ts';
import { chunkMutations } from './mutations/chunks.ts';
import { commandMutations } from './mutations/command.ts';
import { gateMutations } from './mutations/gate.ts';
import { indexMutations } from './mutations/indexes.ts';
import { nodeMutations } from './mutations/node.ts';
import { operatorMutations } from './mutations/operators.ts';
import { ownershipMutations } from './mutations/ownership.ts';
import { paceMutations } from './mutations/pace.ts';
import { planMutations } from './mutations/plan.ts';
import { publicationMutations } from './mutations/publication.ts';
import { remainingMutations } from './mutations/remaining.ts';
import { stateMutations } from './mutations/state.ts';
import { telemetryMutations } from './mutations/telemetry.ts';
import { verificationMutations } from './mutations/verification.ts';
import type { Mutation } from './patch.ts';

/** All of them, by the number that they have in docs/testing.md. */
export const mutations: readonly (Mutation & { readonly number: number })[] = [
  ...ownershipMutations,
  ...gateMutations,
  ...chunkMutations,
  ...indexMutations,
  ...publicationMutations,
  ...stateMutations,
  ...operatorMutations,
  ...verificationMutations,
  ...nodeMutations,
  ...busMutations,
  ...claimMutations,
  ...paceMutations,
  ...planMutations,
  ...telemetryMutations,
  ...commandMutations,
  ...approvalMutations,
  ...remainingMutations,
].map((mutation, at) => ({ number: at + 1, ...mutation }));
