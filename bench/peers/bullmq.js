/**
 * BullMQ on Redis: a job for each chunk of 1,000 records.
 *
 * Where the records are. In the same Redis as the queue, each a JSON document under `place:<id>`: a team that runs BullMQ
 * and nothing else has them there. JSON, because the fields of a Redis hash have no types, and the migration would be none.
 * The index is a sorted set, the latitude as score and the id as member. Ids are a sequence, so a job is the first and
 * the last id of its chunk, and needs no index of keys to find its records.
 *
 * Durable. `appendonly yes` and `appendfsync always`: Redis answers a write when the append-only file is synced, as
 * Godwit's commits are.
 *
 * A chunk is one MGET, the transform in Node, and one MULTI with an MSET and a ZADD, so nobody sees half of it. Each
 * process works on several jobs at once: one waits for Redis while another computes.
 *
 * Cursor atomic: no. That a job is completed is a second write, after the MULTI. A worker that dies in between leaves a job
 * that stalls and runs once more, over records that are new already; so the job has to tell old from new, and this one
 * does. (Completing it in the MULTI would mean calling BullMQ's own Lua scripts with keys that are not public.)
 *
 * What it is spared. Nobody else writes meanwhile: beside writers, a chunk would have to WATCH its thousand keys, or compare
 * what it replaces in a script of its own. Values are not validated. Nobody verifies afterwards but this bench.
 */
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { batchesOf, recordsPerChunk } from './places.js';

/** @import { Chunk, Peer, PeerTask, Place, Jobs, Told } from './places.js' */

const queueName = 'places-2';
const indexKey = 'places:byLatitude';
/** @param {number | bigint} id */
const keyOf = (id) => `place:${id}`;

/** JSON knows no bigint.
 * @param {Place} place */
const encode = (place) => JSON.stringify({ ...place, id: Number(place.id) });

/**
 * @param {string} json
 * @returns {Place}
 */
function decode(json) {
  const place = JSON.parse(json);
  return { ...place, id: BigInt(place.id) };
}

/** What BullMQ asks of connections: a command waits for as long as the server is away.
 * @param {PeerTask} task */
const connectionOf = ({ port }) => ({ host: '127.0.0.1', port, maxRetriesPerRequest: null });

/** @type {(results: [Error | null, unknown][] | null) => void} */
function mustHaveWorked(results) {
  if (results === null) throw new Error('the transaction was refused');
  for (const [error] of results) if (error !== null) throw error;
}

/**
 * @param {PeerTask} task
 * @param {(place: Place) => Place} transform
 * @param {(told: Told) => void} tell
 * @returns {Promise<Jobs>}
 */
export async function startJobs(task, transform, tell) {
  const redis = new Redis(connectionOf(task));

  /** @param {Chunk} chunk */
  async function move({ from, to }) {
    const keys = Array.from({ length: to - from }, (_, n) => keyOf(from + n));
    const stored = await redis.mget(keys);
    /** @type {string[]} */
    const documents = [];
    /** @type {(string | number)[]} */
    const entries = [];
    for (const json of stored) {
      // Deleted, or written by an earlier run of this job.
      if (json === null) continue;
      const place = decode(json);
      if (typeof place.latitude === 'number') continue;
      const moved = transform(place);
      documents.push(keyOf(moved.id), encode(moved));
      entries.push(moved.latitude, String(moved.id));
    }
    if (documents.length === 0) return;
    mustHaveWorked(
      await redis
        .multi()
        .mset(documents)
        .zadd(indexKey, ...entries)
        .exec(),
    );
  }

  const worker = new Worker(queueName, (job) => move(job.data), {
    connection: connectionOf(task),
    concurrency: task.jobsPerProcess,
  });
  worker.on('completed', (job) => tell({ type: 'completed', from: job.data.from }));
  worker.on('failed', (_job, error) => tell({ type: 'failed', reason: error.message }));
  worker.on('error', (error) => tell({ type: 'failed', reason: error.message }));
  await worker.waitUntilReady();
  return {
    async close() {
      await worker.close();
      await redis.quit();
    },
  };
}

/**
 * @param {PeerTask} task
 * @returns {Promise<Peer>}
 */
export async function connect(task) {
  const redis = new Redis(connectionOf(task));
  const queue = new Queue(queueName, { connection: connectionOf(task) });
  await queue.waitUntilReady();

  /** @param {string} name */
  async function setting(name) {
    const [, value] = /** @type {string[]} */ (await redis.config('GET', name));
    return `${name} ${value}`;
  }

  /** Writes the append-only file anew, so that it is not done while others are measured. */
  async function rewriteAppendOnlyFile() {
    await redis.bgrewriteaof();
    while (/^aof_rewrite_(?:in_progress|scheduled):1/mu.test(await redis.info('persistence'))) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  return {
    async fill(places) {
      for (const batch of batchesOf(places, recordsPerChunk)) {
        await redis.mset(batch.flatMap((place) => [keyOf(place.id), encode(place)]));
      }
      await rewriteAppendOnlyFile();
    },
    async plan(chunks) {
      // Planning may be repeated: a job whose id is there is not added again.
      await queue.addBulk(
        chunks.map((data) => ({
          name: 'move',
          data,
          opts: { jobId: `move-${data.from}`, attempts: 5, backoff: { type: 'exponential', delay: 250 } },
        })),
      );
    },
    // A job is told of as completed when Redis has said so.
    finish: async () => undefined,
    publish: async () => undefined,
    durability: async () => `${await setting('appendonly')}, ${await setting('appendfsync')}`,
    async *places() {
      for (const ids of batchesOf(Array(task.records).keys(), recordsPerChunk)) {
        for (const json of await redis.mget(ids.map(keyOf))) if (json !== null) yield decode(json);
      }
      let keys = 0;
      for await (const batch of redis.scanStream({ match: 'place:*', count: recordsPerChunk })) {
        keys += batch.length;
      }
      // SCAN may tell of a key twice while the table grows, but nobody writes now.
      if (keys !== task.records) throw new Error(`there are ${keys} records instead of ${task.records}`);
    },
    async *entries() {
      const last = recordsPerChunk - 1;
      for (let at = 0; ; at += recordsPerChunk) {
        const flat = await redis.zrange(indexKey, at, at + last, 'WITHSCORES');
        if (flat.length === 0) return;
        for (const [id, latitude] of batchesOf(flat, 2)) yield { id: Number(id), latitude: Number(latitude) };
      }
    },
    async close() {
      await queue.close();
      await redis.quit();
    },
  };
}
