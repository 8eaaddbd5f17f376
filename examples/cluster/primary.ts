/**
 * The primary process of the shop. It starts workers of release 1, and
 *
 * - on SIGHUP replaces them by workers of release 2, one after the other, while the shop is open;
 * - on SIGTERM or SIGINT ends them, and with them itself.
 */
import { pino } from 'pino';
import { shopEvent } from './events.ts';
import { createFleet } from './fleet.ts';
import { readSettings } from './settings.ts';

const log = pino({ base: { pid: process.pid } });
const fleet = createFleet(log);
let isRestarting = false;

/**
 * A new worker first, then an old one less. What is waited for is that the new one listens, not that it is ready: that
 * comes with the publication, and while the migration runs the old ones cannot serve either.
 */
async function restart(release: number): Promise<void> {
  if (isRestarting) return;
  isRestarting = true;
  let replaced = 0;
  try {
    for (;;) {
      const [old] = [...fleet.releases].find(([, other]) => other !== release) ?? [];
      if (old === undefined) break;
      await fleet.start(release);
      await fleet.retire(old);
      replaced += 1;
    }
    log.info({ event: shopEvent.restarted, replaced });
  } catch (error) {
    // A release that does not come up replaces nobody.
    log.error({ event: shopEvent.stopped, err: error, replaced });
  } finally {
    isRestarting = false;
  }
}

const end = async () => {
  await fleet.end();
  if (process.connected) process.disconnect();
};
process.on('SIGHUP', () => void restart(2));
process.on('SIGTERM', () => void end());
process.on('SIGINT', () => void end());
// Where another process started it and holds a channel: it does not outlive that one.
process.once('disconnect', () => void end());

try {
  const { workers } = readSettings();
  const [port] = await Promise.all(Array.from({ length: workers }, () => fleet.start(1)));
  log.info({ event: shopEvent.serving, port });
} catch (error) {
  log.error({ err: error }, 'the shop does not open');
  process.exitCode = 1;
  await end();
}
