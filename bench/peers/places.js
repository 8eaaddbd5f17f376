/**
 * What the peers share: the task they are given, chunks, and the check of what they made.
 *
 * @typedef {object} Place
 * @property {bigint} id
 * @property {string} name
 * @property {string | number} latitude text before the migration, a number after it
 * @property {string} text
 *
 * @typedef {object} PeerTask What a process is to do, as its one argument.
 * @property {'lead' | 'work'} role fills, plans the jobs, measures and checks; or works on jobs
 * @property {string} peer the module with the contender, beside this one
 * @property {number} port of its server, on 127.0.0.1
 * @property {number} serverPid whose CPU time counts, with that of its children
 * @property {number} records
 * @property {number} processes that work on jobs
 * @property {number} jobsPerProcess at the same time
 * @property {string} modelsUrl the compiled bench/models.ts
 * @property {string} transformUrl the compiled module that Godwit is given, too
 *
 * @typedef {object} Chunk Ids from `from`, `to` left out.
 * @property {number} from
 * @property {number} to
 *
 * @typedef {object} Told What a worker process says.
 * @property {'ready' | 'completed' | 'failed'} type
 * @property {number} [from] of the chunk
 * @property {string} [reason]
 *
 * @typedef {object} Peer One contender, connected to its server.
 * @property {(places: Iterable<Place>) => Promise<void>} fill empty server to all records of version 1.0, at rest
 * @property {(chunks: readonly Chunk[]) => Promise<void>} plan puts a job for each chunk into the queue, durably
 * @property {() => Promise<void>} finish what is left to measure when each chunk has been told of as completed
 * @property {() => Promise<void>} publish what ends the migration; not measured
 * @property {() => Promise<string>} durability the settings that the server has, asked of the server
 * @property {() => AsyncIterable<Place>} places all records, in the order of their ids
 * @property {() => AsyncIterable<{ readonly id: number, readonly latitude: number }>} entries all of the index, in order
 * @property {() => Promise<void>} close
 *
 * @typedef {object} Jobs A process that works on jobs.
 * @property {() => Promise<void>} close
 *
 * @typedef {object} PeerModule
 * @property {(task: PeerTask) => Promise<Peer>} connect
 * @property {(task: PeerTask, transform: (place: any) => any, tell: (told: Told) => void) => Promise<Jobs>} startJobs
 */

export const recordsPerChunk = 1_000;

/**
 * @param {number} records
 * @returns {Chunk[]}
 */
export function chunksOf(records) {
  return Array.from({ length: Math.ceil(records / recordsPerChunk) }, (_, n) => ({
    from: n * recordsPerChunk,
    to: Math.min(records, (n + 1) * recordsPerChunk),
  }));
}

/**
 * @template T
 * @param {Iterable<T>} all
 * @param {number} size
 * @returns {Generator<T[]>}
 */
export function* batchesOf(all, size) {
  /** @type {T[]} */
  let batch = [];
  for (const one of all) {
    batch.push(one);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

/**
 * Every record and every index entry against what they should be.
 *
 * @param {Peer} peer
 * @param {number} records
 * @param {{ readonly createPlace: (n: number) => Place, readonly latitudeOf: (n: number) => number }} models
 * @throws {Error} where a record or an entry is missing, too many, or not what it should be
 */
export async function check(peer, records, { createPlace, latitudeOf }) {
  let n = 0;
  for await (const { id, name, latitude, text } of peer.places()) {
    const expected = createPlace(n);
    const isRight =
      id === expected.id && name === expected.name && latitude === latitudeOf(n) && text === expected.text;
    if (!isRight) throw new Error(`record ${n} was not migrated`);
    n += 1;
  }
  const seen = new Uint8Array(records);
  let entries = 0;
  let before = Number.NEGATIVE_INFINITY;
  for await (const { id, latitude } of peer.entries()) {
    if (latitude !== latitudeOf(id) || seen[id] !== 0 || latitude < before) {
      throw new Error(`the entry of record ${id} is wrong, comes twice or out of order`);
    }
    seen[id] = 1;
    before = latitude;
    entries += 1;
  }
  if (n !== records || entries !== records) {
    throw new Error(`there are ${n} records and ${entries} entries instead of ${records}`);
  }
}
