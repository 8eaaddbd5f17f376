import { steeringCommand } from './steer.ts';

export const addResume = steeringCommand({
  verb: 'resume',
  summary: 'lets a paused, canceled or failed migration go on',
  description:
    'Its counters of attempts and retries begin anew, and the transform is the one that the next owner has.',
  examples: [
    ['resume Town --database fdb: --subspace app', 'by the database'],
    ['resume Town --nats nats://localhost:4222 --store app --by ann', 'through the nodes'],
  ],
});
