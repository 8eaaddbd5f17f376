import { externalOwner } from '../../src/migration/external-owner.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { createDefaultLease, createRowLease, leaseTimes } from '../rig/leases.ts';
import { describeMigrationLease } from './lease-suite.ts';

describeMigrationLease('the default', (place, process) => createDefaultLease(place, process));

describeMigrationLease("an application's own", (place) => createRowLease(place));

// Whoever asks first is chosen, until somebody is told otherwise: as a leader election does it.
describeMigrationLease('an external owner', (place, process) => {
  const lease = createDefaultLease(place, process);
  const make = externalOwner({
    isOwner: async ({ modelId }) => {
      const holder = await lease.explain(modelId);
      return holder?.held !== true;
    },
    onLost: () => () => undefined,
  });
  return make({ lease, clock: systemClock, heartbeatMs: leaseTimes.heartbeatMs });
});
