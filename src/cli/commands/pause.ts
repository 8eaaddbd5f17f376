import { steeringCommand } from './steer.ts';

export const addPause = steeringCommand({
  verb: 'pause',
  summary: 'stops a migration at its next chunk, until it is resumed',
  description:
    'It is obeyed by whoever migrates, and kept where nobody does. A model that is closed stays closed.',
  examples: [
    ['pause Town --database fdb: --subspace app --reason "peak hours"', 'by the database'],
    ['pause 3 --nats nats://localhost:4222 --store app', 'through the nodes, by the id of the model'],
  ],
});
