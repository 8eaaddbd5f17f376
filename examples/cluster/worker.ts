import cluster from 'node:cluster';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { ServerResponse } from 'node:http';
import { pino } from 'pino';
import type { Logger, StoreOptions } from '../../src/index.ts';
import { GodwitException } from '../../src/index.ts';
import type { Answer } from './answers.ts';
import { answerTo } from './answers.ts';
import { drain, keepAliveMs } from './drain.ts';
import type { Shop } from './routes.ts';
import { answer } from './routes.ts';
import { readSettings, subspace } from './settings.ts';

/** Longer than a request takes and than an idle connection is kept. */
const drainTimeoutMs = 5_000;
/** For the chunk under way, and for the lease to be released. */
const closeTimeoutMs = 5_000;

type CommonOptions = Pick<
  StoreOptions,
  | 'database'
  | 'subspace'
  | 'bus'
  | 'logger'
  | 'nodeId'
  | 'signal'
  | 'migrationStartupBudgetMs'
  | 'continueMigrationsInBackground'
  | 'migrationMaxRecordsPerSecond'
>;

/** The life of a worker: it opens the store, serves, and ends by itself when it is told to. */
export async function runWorker(
  version: string,
  openShop: (options: CommonOptions) => Promise<Shop>,
): Promise<void> {
  const log = pino({ base: { pid: process.pid, version } });
  const ending = new AbortController();
  process.on('SIGTERM', () => ending.abort());
  // Ctrl-C reaches every process of a terminal. It is meant for the primary, who ends the workers.
  process.on('SIGINT', () => undefined);
  try {
    await serve(version, openShop, log, ending.signal);
  } catch (error) {
    if (!(error instanceof GodwitException && error.code === 'ABORTED')) {
      log.error({ err: error }, 'the worker failed');
      process.exitCode = 1;
    }
  }
  // The channel to the primary is all that keeps it alive now.
  cluster.worker?.disconnect();
}

async function serve(
  version: string,
  openShop: (options: CommonOptions) => Promise<Shop>,
  logger: Logger,
  signal: AbortSignal,
): Promise<void> {
  const { database, nats, port, rate } = readSettings();
  const shop = await openShop({
    database,
    subspace,
    bus: nats,
    logger,
    nodeId: `${version} pid ${process.pid}`,
    signal,
    // A worker that waited for its migration here would not be live, and the restart would stand still.
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    migrationMaxRecordsPerSecond: rate,
  });
  const server = createServer((request, response) => {
    void answer(request, shop, version, () => signal.aborted)
      .catch(answerTo)
      .then((given) => send(response, given, signal.aborted));
  });
  server.keepAliveTimeout = keepAliveMs;
  // Not before the store is open: the primary hands connections to everybody who listens.
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  if (!signal.aborted) await once(signal, 'abort');
  // What is under way needs the store.
  await drain(server, drainTimeoutMs);
  await shop.store.close({ timeoutMs: closeTimeoutMs });
}

function send(
  response: ServerResponse,
  { status, body, retryAfter, closes }: Answer,
  isEnding: boolean,
): void {
  if (retryAfter !== undefined) response.setHeader('Retry-After', retryAfter);
  if (isEnding || closes === true) response.setHeader('Connection', 'close');
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}
