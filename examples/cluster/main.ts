/** `npm run example:cluster`: what its clients see while a shop goes from release 1 to release 2. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDisplay } from '../cities/display.ts';
import { thousands } from '../cities/format.ts';
import type { ShopEvent } from './events.ts';
import { fillVersion1 } from './fill.ts';
import { followMigration } from './follow.ts';
import { NatsServerMissing, startNatsServer } from './nats-server.ts';
import type { Options } from './options.ts';
import { help, OptionError, parseOptions } from './options.ts';
import { startShop } from './shop-process.ts';
import { createTally } from './tally.ts';
import { startTraffic } from './traffic.ts';

const display = createDisplay(process.stdout);

/** What was opened, closed in the opposite order. */
const opened: (() => Promise<unknown> | void)[] = [];

async function run({ workers, records, rate }: Options, interrupted: AbortSignal): Promise<void> {
  const nats = await startNatsServer();
  opened.push(() => nats.stop());
  const directory = mkdtempSync(join(tmpdir(), 'godwit-shop-'));
  opened.push(() => rmSync(directory, { recursive: true, force: true }));
  const database = `embedded:${join(directory, 'data')}`;
  await fillVersion1(database, records);
  opened.push(await followMigration(nats.address, display));
  if (interrupted.aborted) return;

  const shop = startShop({ database, nats: nats.address, port: 0, workers, rate }, sayEvent);
  const endShop = async () => {
    shop.child.kill('SIGTERM');
    const { code } = await shop.ended;
    if (code !== 0) process.exitCode = 1;
  };
  opened.push(endShop);
  interrupted.addEventListener('abort', () => void shop.child.kill('SIGTERM'));
  const { port = 0 } = await shop.told('serving');
  display.line(`The shop is open on http://127.0.0.1:${port} with ${thousands(records)} products.`);

  const tally = createTally();
  const traffic = startTraffic(port, records, {
    answered: (response) => tally.count(response),
    lost: () => tally.lost(),
  });
  opened.push(() => traffic.end());
  const isOver = Promise.race([shop.ended, shop.told('stopped')]).then(() => {
    throw new Error('the shop has ended, or release 2 does not come up');
  });
  const until = async (moment: Promise<unknown>, phase: string) => {
    await Promise.race([moment, isOver]);
    const counted = tally.take();
    if (counted !== undefined) display.line(`${phase.padEnd(32)} ${counted}`);
  };
  const served = async (version: string, times: number) => {
    for (let time = 0; time < times; time += 1) {
      await traffic.seen(({ status, body }) => status === 200 && body['version'] === version);
    }
  };

  await until(served('1.0', 200), 'Release 1 alone');
  display.line('kill -HUP: release 2 comes, one worker after the other.');
  const gateCloses = traffic.seen(({ status }) => status === 503);
  const isPublished = traffic.seen(({ body }) => body['version'] === '2.0');
  const isRestarted = shop.told('restarted');
  // Whatever ends the shop is told by isOver.
  isRestarted.catch(() => undefined);
  shop.child.kill('SIGHUP');
  await until(Promise.race([gateCloses, isPublished]), 'Until the gate closes');
  await until(isPublished, 'Until version 2.0 is published');
  await until(isRestarted, 'Until release 1 is gone');
  await until(served('2.0', 200), 'Release 2 alone');
  const { body } = await traffic.seen(({ status }) => status === 200);
  display.line(`A product now: ${JSON.stringify(body['product'])}`);
  await traffic.end();
  display.line('kill -TERM: the shop closes.');
  await endShop();
  const { served: yes, refused, wrong } = tally.total;
  display.line(
    `${thousands(yes + refused)} answers, ${thousands(refused)} of them "try again"; ${wrong} of any other kind.`,
  );
  if (wrong > 0) process.exitCode = 1;
}

function sayEvent({ event, worker, release, code, signal }: ShopEvent): void {
  if (event === 'live') display.line(`  + worker ${worker} of release ${release} is live`);
  if (event === 'ended')
    display.line(`  - worker ${worker} of release ${release} has ended with ${signal ?? code}`);
}

/** As a shell has it for a program that a signal ended: 128 and the signal's number. */
const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const;
const interrupted = new AbortController();
let interruptedCode = 0;
try {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) console.log(help);
  else {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        interruptedCode = exitCodes[signal];
        interrupted.abort();
      });
    }
    await run(options, interrupted.signal);
  }
} catch (error) {
  const isUsers = error instanceof OptionError || error instanceof NatsServerMissing;
  if (!interrupted.signal.aborted) console.error(isUsers ? error.message : error);
  process.exitCode = isUsers ? 2 : 1;
} finally {
  for (const close of opened.reverse()) await close();
  if (interrupted.signal.aborted) process.exitCode = interruptedCode;
}
