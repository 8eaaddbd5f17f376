/**
 * graphile-worker on PostgreSQL: a job for each chunk of 1,000 records.
 *
 * Where the records are. In a table of the same database as the queue, a column for each property, the id as primary key.
 * The migration goes as such migrations do: a new column is added beside the old one (a change of the catalog alone), jobs
 * fill it, an index on it is made, and in the end the columns change places.
 *
 * Durable. `fsync`, `synchronous_commit` and `full_page_writes` on, as they are by default: a commit is answered when the
 * log is synced, as Godwit's commits are. Memory and log size are raised above the defaults, as anybody would who moves
 * many rows: no checkpoint falls into a run of the usual size.
 *
 * A chunk is one transaction: read the rows by a range of the key, transform them in Node, write them back by one UPDATE
 * from arrays. It reads and writes the columns that matter and no others, which records that are stored whole cannot.
 * Each process works on several jobs at once.
 *
 * The index is made with CREATE INDEX CONCURRENTLY after the last job, and its time counts: so one does it, since rows that
 * are written with the index in place cost more (see the README for how much).
 *
 * Cursor atomic: no. A task has no access to the transaction that completes its job: that is a second one, after the
 * chunk's. A worker that dies in between leaves a job that is locked for up to four hours and then runs once more,
 * over rows that are filled already; so the job leaves out those, and this one does.
 *
 * What it is spared. Nobody else writes meanwhile: beside writers, the rows of a chunk would be read FOR UPDATE and a trigger
 * would have to fill the column of new ones. Values are not validated. Nobody verifies afterwards but this bench.
 */
import { EventEmitter } from 'node:events';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';
import pg from 'pg';
import { batchesOf, recordsPerChunk } from './places.js';

/** @import { Chunk, Peer, PeerTask, Place, Jobs, Told } from './places.js' */
/** @import { WorkerEvents } from 'graphile-worker' */

const taskName = 'move-places';
/** One line for each job, otherwise: nothing that a team would log, or that Godwit does. */
const logger = new Logger(() => () => undefined);

/** @param {PeerTask} task */
const connectionStringOf = ({ port }) => `postgres://postgres@127.0.0.1:${port}/postgres`;

/**
 * @param {PeerTask} task
 * @param {(place: any) => any} transform
 * @param {(told: Told) => void} tell
 * @returns {Promise<Jobs>}
 */
export async function startJobs(task, transform, tell) {
  /** @param {Chunk} chunk @param {pg.PoolClient} client */
  async function move({ from, to }, client) {
    const { rows } = await client.query({
      name: 'read-places',
      text: `select id, latitude from places
             where id >= $1 and id < $2 and latitude_number is null order by id`,
      values: [from, to],
    });
    const moved = rows.map(transform);
    await client.query({
      name: 'write-places',
      text: `update places set latitude_number = moved.latitude
             from unnest($1::bigint[], $2::double precision[]) as moved (id, latitude)
             where places.id = moved.id`,
      values: [moved.map(({ id }) => id), moved.map(({ latitude }) => latitude)],
    });
  }

  const events = /** @type {WorkerEvents} */ (new EventEmitter());
  events.on('job:error', ({ error }) => tell({ type: 'failed', reason: String(error) }));
  events.on('job:complete', ({ job, error }) => {
    const { from } = /** @type {Chunk} */ (job.payload);
    if (!error) tell({ type: 'completed', from });
  });
  const runner = await run({
    connectionString: connectionStringOf(task),
    // One for each job, one to listen for jobs, and one to take and complete them by.
    maxPoolSize: task.jobsPerProcess + 2,
    concurrency: task.jobsPerProcess,
    noHandleSignals: true,
    logger,
    events,
    taskList: {
      [taskName]: (payload, { withPgClient }) =>
        withPgClient(async (client) => {
          await client.query('begin');
          try {
            await move(/** @type {Chunk} */ (payload), client);
            await client.query('commit');
          } catch (error) {
            await client.query('rollback');
            throw error;
          }
        }),
    },
  });
  return { close: () => runner.stop() };
}

/**
 * @param {PeerTask} task
 * @returns {Promise<Peer>}
 */
export async function connect(task) {
  const pool = new pg.Pool({ connectionString: connectionStringOf(task), max: 2 });
  // An idle connection that breaks would end the process; whoever uses one is told by its query.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();

  /** @param {string} name */
  const setting = async (name) => `${name} ${(await pool.query(`show ${name}`)).rows[0][name]}`;

  return {
    async fill(places) {
      await pool.query(
        'create table places (id bigint primary key, name text not null, latitude text not null, text text not null)',
      );
      for (const batch of batchesOf(places, recordsPerChunk)) {
        const columns = /** @type {const} */ (['id', 'name', 'latitude', 'text']).map((name) =>
          batch.map((place) => place[name]),
        );
        await pool.query(
          'insert into places select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[])',
          columns,
        );
      }
      await pool.query('alter table places add column latitude_number double precision');
      // Done now, so that it is not done while others are measured.
      await pool.query('vacuum (analyze) places');
      await pool.query('checkpoint');
    },
    async plan(chunks) {
      // Planning may be repeated: a job whose key is there is not added again.
      await utils.addJobs(
        chunks.map((payload) => ({ identifier: taskName, payload, jobKey: `${taskName}-${payload.from}` })),
      );
    },
    async finish() {
      // Jobs are told of before they are out of the queue.
      for (;;) {
        const { rows } = await pool.query('select count(*)::int as jobs from graphile_worker.jobs');
        if (rows[0].jobs === 0) break;
      }
      await pool.query('create index concurrently places_by_latitude on places (latitude_number)');
    },
    async publish() {
      await pool.query(`begin;
        alter table places drop column latitude;
        alter table places rename column latitude_number to latitude;
        alter table places alter column latitude set not null;
        commit`);
      await pool.query('vacuum (analyze) places');
    },
    async durability() {
      return (await Promise.all(['fsync', 'synchronous_commit', 'full_page_writes'].map(setting))).join(', ');
    },
    async *places() {
      for (let after = -1n; ;) {
        const { rows } = await pool.query(
          'select id, name, latitude, text from places where id > $1 order by id limit $2',
          [after, recordsPerChunk],
        );
        if (rows.length === 0) return;
        for (const row of rows) yield { ...row, id: BigInt(row.id) };
        after = BigInt(rows.at(-1).id);
      }
    },
    async *entries() {
      const client = await pool.connect();
      try {
        // Out of the index, or not at all.
        await client.query(`begin isolation level repeatable read;
          set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = off`);
        const select = 'select id, latitude from places order by latitude';
        const { rows: plan } = await client.query(`explain ${select}`);
        if (!plan.some((row) => / using places_by_latitude /u.test(row['QUERY PLAN']))) {
          throw new Error('the index was not read');
        }
        await client.query(`declare entries no scroll cursor for ${select}`);
        for (;;) {
          const { rows } = await client.query(`fetch ${recordsPerChunk} from entries`);
          if (rows.length === 0) break;
          for (const { id, latitude } of rows) yield { id: Number(id), latitude };
        }
        await client.query('commit');
      } finally {
        // With its settings.
        client.release(true);
      }
    },
    async close() {
      await utils.release();
      await pool.end();
    },
  };
}
