import type { StoreOptions } from '../../src/store/options.ts';
import type { SeededRandom } from '../rig/seed.ts';

/** What slows a process down. */
export type Pace = Pick<StoreOptions, 'migrationMaxRecordsPerSecond' | 'migrationThrottle'>;

/**
 * The pace of each process that is started: in every third history some have a limit, or an application that holds chunks
 * back, and does it badly now and then. Drawn from a stream of its own, so that other histories stay as they are.
 */
export function createPaces(random: SeededRandom, isCalm: () => boolean): () => Pace {
  const isPaced = random.below(3) === 0;
  const hold: NonNullable<Pace['migrationThrottle']> = () => {
    if (isCalm()) return undefined;
    switch (random.below(8)) {
      case 0:
        return { delayMs: random.below(3_000), reason: 'busy' };
      case 1:
        return { delayMs: Number.NaN, reason: 'strange' };
      case 2:
        throw new Error('the application is broken');
      case 3:
        return Promise.resolve({ delayMs: random.below(100), reason: 'a little busy' });
      default:
        return undefined;
    }
  };
  return () => {
    if (!isPaced) return {};
    switch (random.below(3)) {
      case 0:
        return { migrationMaxRecordsPerSecond: 20 + random.below(200) };
      case 1:
        return { migrationThrottle: hold };
      default:
        return {};
    }
  };
}
