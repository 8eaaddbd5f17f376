import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { answerTo } from '../../examples/cluster/answers.ts';
import type { Client, Response } from '../../examples/cluster/client.ts';
import { createClient } from '../../examples/cluster/client.ts';
import { fillVersion1 } from '../../examples/cluster/fill.ts';
import { help, parseOptions } from '../../examples/cluster/options.ts';
import type { ShopProcess } from '../../examples/cluster/shop-process.ts';
import { startShop } from '../../examples/cluster/shop-process.ts';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { RequestException } from '../../src/errors.ts';
import { natsServerBinary, startNatsServer } from '../rig/nats-server.ts';
import type { NatsServer } from '../rig/nats-server.ts';
import type { TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';
import { waitUntil } from '../rig/operators.ts';

const products = 500;
/** Between an answer and the next request of a client. */
const pauseMs = 2;

/** Whether such a process is there; one that has ended and was not waited for yet is not. */
const isRunning = (pid: number): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

describe.runIf(natsServerBinary !== undefined)('the example with the cluster', () => {
  let nats: NatsServer;
  let directory: TemporaryDirectory;
  let shop: ShopProcess | undefined;
  const endings: (() => unknown)[] = [];

  beforeEach(async () => {
    nats = await startNatsServer();
    directory = createTemporaryDirectory('shop');
  });

  afterEach(async () => {
    for (const end of endings.splice(0)) await end();
    // Its workers end with it.
    shop?.child.kill('SIGKILL');
    await shop?.ended;
    shop = undefined;
    await nats.stop();
    directory.remove();
  });

  const database = () => `embedded:${join(directory.path, 'data')}`;
  const open = async (workers: number): Promise<ShopProcess> => {
    await fillVersion1(database(), products);
    shop = startShop({ database: database(), nats: `nats://${nats.address}`, port: 0, workers, rate: 500 });
    return shop;
  };
  const endedOf = ({ events }: ShopProcess, release: number) =>
    events.filter(({ event, release: of }) => event === 'ended' && of === release);

  it('answers 200, or 503 with Retry-After, all through a rolling restart with a migration', async () => {
    const workers = 2;
    const running = await open(workers);
    const { port = 0 } = await running.told('serving');
    const answers: Response[] = [];
    const liveness: Response[] = [];
    const readiness: Response[] = [];
    const failures: unknown[] = [];
    let isOver = false;

    /** Asks again and again, each time soon after the answer. */
    const loop = async (keepsConnections: boolean, ask: (client: Client) => Promise<unknown>) => {
      const client = createClient(port, { keepsConnections });
      while (!isOver) {
        await Promise.resolve(ask(client)).catch((error: unknown) => failures.push(error));
        // Leaves some of the processor to the shop.
        await setTimeout(pauseMs);
      }
      client.close();
    };
    let next = 0;
    const get = async (client: Client) => {
      next = (next % products) + 1;
      answers.push(await client.ask(`/products/${next}`));
    };
    /** Of product 1: what was asked for last, and what was acknowledged last. */
    const stock = { asked: 100, acknowledged: 0 };
    const put = async (client: Client) => {
      stock.asked += 1;
      const answer = await client.ask('/products/1/stock', { method: 'PUT', body: `${stock.asked}` });
      if (answer.status === 200) stock.acknowledged = stock.asked;
      answers.push(answer);
    };
    /** Of a client that would keep its connection. */
    const probesOnKept: Response[] = [];
    const probe = async (client: Client): Promise<readonly Response[]> => {
      const lives = await client.ask('/livez');
      liveness.push(lives);
      const serves = await client.ask('/readyz');
      readiness.push(serves);
      return [lives, serves];
    };
    const probeOnKept = async (client: Client) => probesOnKept.push(...(await probe(client)));
    const loops = [
      loop(true, get),
      loop(false, get),
      loop(true, put),
      loop(false, probe),
      loop(true, probeOnKept),
    ];
    endings.push(async () => {
      isOver = true;
      await Promise.all(loops);
    });

    await waitUntil('version 1 was served', () => answers.length > 100 && readiness.length > 10);
    expect(new Set(answers.map(({ status, body }) => `${status} ${String(body['version'])}`))).toEqual(
      new Set(['200 1.0']),
    );
    expect(new Set(readiness.map(({ status }) => status))).toEqual(new Set([200]));

    running.child.kill('SIGHUP');
    await waitUntil('a request was refused', () => answers.some(({ status }) => status === 503));
    await waitUntil('a probe was', () => readiness.some(({ status }) => status === 503));
    await running.told('restarted');
    await waitUntil('version 2 is served', () => answers.at(-1)?.body['version'] === '2.0');

    // What was begun before this moment may still be refused.
    const client = createClient(port, { keepsConnections: true });
    endings.push(() => client.close());
    const [fromHere, ready] = [answers.length + loops.length, readiness.length + loops.length];
    await waitUntil(
      'version 2 was served for a while',
      () => answers.length > fromHere + 50 && readiness.length > ready,
    );
    expect(
      answers.slice(fromHere).filter(({ status, body }) => status !== 200 || body['version'] !== '2.0'),
    ).toEqual([]);
    expect(readiness.slice(ready).filter(({ status }) => status !== 200)).toEqual([]);
    isOver = true;
    await Promise.all(loops);

    expect(failures).toEqual([]);
    const wrong = [...answers, ...readiness].filter(
      ({ status, retryAfter }) =>
        !(status === 200 && retryAfter === undefined) &&
        !(status === 503 && /^([1-9]|[12]\d|30)$/.test(retryAfter ?? '')),
    );
    expect(wrong).toEqual([]);
    expect(new Set(liveness.map(({ status }) => status))).toEqual(new Set([200]));
    const refusals = new Set(answers.filter(({ status }) => status === 503).map(({ body }) => body['error']));
    expect(refusals).toContain('MODEL_MIGRATING');
    expect(
      [...refusals].filter((code) => code !== 'MODEL_MIGRATING' && code !== 'MODEL_SCHEMA_CHANGED'),
    ).toEqual([]);

    // The worker that ends says so to a client, who then comes to another one.
    expect(probesOnKept.some(({ closes }) => closes)).toBe(true);

    const { body } = await client.ask('/products/1');
    expect(body).toEqual({
      version: '2.0',
      product: { id: 1, name: 'Product 1', cents: 150, stock: stock.acknowledged },
    });
    expect(stock.acknowledged).toBeGreaterThan(100);

    client.close();
    expect(endedOf(running, 1)).toHaveLength(workers);
    running.child.kill('SIGTERM');
    expect(await running.ended).toEqual({ code: 0, signal: null });
    const ended = running.events.filter(({ event }) => event === 'ended');
    expect(ended).toHaveLength(2 * workers);
    expect(ended.filter(({ code, signal }) => code !== 0 || signal !== null)).toEqual([]);
    expect(ended.filter(({ worker = 0 }) => isRunning(worker))).toEqual([]);
  }, 60_000);

  it('replaces a worker that is killed', async () => {
    const running = await open(1);
    await running.told('serving');
    const [victim] = running.events.flatMap(({ event, worker }) => (event === 'live' ? [worker ?? 0] : []));
    process.kill(victim ?? 0, 'SIGKILL');
    const live = () => running.events.filter(({ event }) => event === 'live').length;
    await waitUntil('another one is live', () => live() === 2);
    expect(endedOf(running, 1)).toMatchObject([{ worker: victim, signal: 'SIGKILL' }]);
    // Whoever started the shop is gone.
    running.child.disconnect();
    expect(await running.ended).toEqual({ code: 0, signal: null });
    expect(running.events.filter(({ worker = 0 }) => isRunning(worker))).toEqual([]);
  }, 60_000);

  const runExample = (args: readonly string[], environment: NodeJS.ProcessEnv = {}) =>
    new Promise<{ readonly code: number | null; readonly output: string }>((resolve) => {
      const child = spawn(process.execPath, ['--import', 'tsx', 'examples/cluster/main.ts', ...args], {
        cwd: repositoryTop,
        env: { ...process.env, NATS_SERVER_BIN: natsServerBinary, ...environment },
      });
      endings.push(() => child.kill('SIGTERM'));
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => (output += text));
      }
      child.on('close', (code) => resolve({ code, output }));
    });

  it('shows what its clients saw, and leaves nothing', async () => {
    const { code, output } = await runExample(['--workers', '1', '--records', '300', '--rate', '600']);
    expect({ code, output }).toEqual({ code: 0, output });
    expect(output).toMatch(/^The shop is open on http:\/\/127\.0\.0\.1:\d+ with 300 products\.$/m);
    expect(output).toMatch(/^Release 1 alone +200: +\d+ +503: +0$/m);
    expect(output).toMatch(
      /^Until version 2\.0 is published +200: +\d+ +503: +[1-9][\d,]* +Retry-After: .*\d s$/m,
    );
    expect(output).toMatch(/^ {2}NATS {2}Completed, told by 2\.0 pid \d+$/m);
    expect(output).toMatch(/^Release 2 alone +200: +\d+ +503: +0$/m);
    expect(output).toMatch(/^A product now: \{.*"cents":\d+.*\}$/m);
    expect(output).toMatch(/; 0 of any other kind\.$/m);
    const pids = [...output.matchAll(/worker (\d+)/g)].map(([, pid]) => Number(pid));
    expect(new Set(pids).size).toBe(2);
    expect(pids.filter(isRunning)).toEqual([]);
  }, 60_000);

  it('says what to do where there is no nats-server', async () => {
    const { code, output } = await runExample([], { NATS_SERVER_BIN: 'no-such-server' });
    expect(code).toBe(2);
    expect(output).toMatch(
      /^This example needs a NATS server, and no-such-server cannot be started\. Install nats-server/,
    );
  });
});

describe('what its clients are told', () => {
  const refusal = (code: 'MODEL_MIGRATING' | 'MODEL_SCHEMA_CHANGED' | 'STORE_CLOSED', details = {}) =>
    answerTo(new RequestException(code, 'refused', { details }));

  it.each([
    [100, 1],
    [1_000, 1],
    [1_001, 2],
    [30_000, 30],
  ])('of a migration that advises %d ms is Retry-After: %d', (retryAfterMs, retryAfter) => {
    expect(refusal('MODEL_MIGRATING', { retryAfterMs, etaMs: null })).toMatchObject({
      status: 503,
      retryAfter,
    });
  });

  it('by a worker that is too old is to try again, on another connection', () => {
    expect(refusal('MODEL_SCHEMA_CHANGED')).toMatchObject({ status: 503, retryAfter: 1, closes: true });
  });

  it('of what is no refusal is 500', () => {
    expect(answerTo(new Error('secret'))).toEqual({ status: 500, body: { error: 'INTERNAL' } });
  });
});

describe('its options', () => {
  it('have defaults, and are all in the help', () => {
    const { workers: many, records, rate } = parseOptions([]);
    for (const [name, value] of Object.entries({ workers: many, records, rate }))
      expect(help).toMatch(new RegExp(`--${name} .*: ${value}\\n`));
  });

  it.each([
    [['--workers', '0'], "--workers must be a whole number from 1 to 16, not '0'."],
    [['--rate', 'max'], "--rate must be a whole number from 1 to 1000000, not 'max'."],
    [['--speed'], /Unknown option '--speed'\. Options are --workers, --records, --rate and --help\./],
  ])('refuse %j and say what is allowed', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});
