import { steeringCommand } from './steer.ts';

export const addApprove = steeringCommand({
  verb: 'approve',
  summary: 'lets a migration that waits for approval begin Contract, and be published',
  description:
    'What is approved is the verification that has passed; who approved stands in the audit. For migrations whose owner asks ' +
    "for it: migrationContractApproval: 'manual'.",
  examples: [
    ['approve Town --database fdb: --subspace app --reason "looked at the sample"', 'by the database'],
    ['approve Town --nats nats://localhost:4222 --store app --by ann', 'through the nodes'],
  ],
});
