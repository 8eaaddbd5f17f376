/** A program whose store migrates in the background, for others to look at: `node program.js '{ "database": ... }'`. */
import { FoundationDBDataStore } from 'godwit';
import { optionsOf } from './models.js';

const { how, ...place } = JSON.parse(process.argv[2]);
const store = await FoundationDBDataStore.open({
  ...optionsOf(how),
  ...place,
  migrationAuditEventReporter: () => undefined,
  migrationStartupBudgetMs: 0,
  continueMigrationsInBackground: true,
});
process.stdout.write('open\n');
// A paused migration keeps no process alive; a server does, in whose place this stands.
const server = setInterval(() => undefined, 60_000);
process.once('SIGTERM', () => {
  clearInterval(server);
  void store.close();
});
