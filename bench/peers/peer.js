/**
 * One run of one peer, on a server that is its own and empty. The leading process fills it, starts the processes that work
 * on jobs, and waits until they are connected. What is measured begins before the first job is put into the queue, and
 * ends when the last one has left it and its effects are durable. Then it checks every record and every entry.
 */
import { fork } from 'node:child_process';
import { readProcesses, cpuMsOf } from './cpu-time.js';
import { check, chunksOf } from './places.js';

/** @import { PeerModule, PeerTask, Told } from './places.js' */

/** Told what there is to tell, and about to end. */
let isDone = false;

/** @param {Told} told */
const tell = (told) => void process.send?.(told);

/** @param {PeerTask} task */
async function work(task) {
  /** @type {PeerModule} */
  const { startJobs } = await import(task.peer);
  const { default: definition } = await import(task.transformUrl);
  // They take the record alone, and answer one of the new version.
  const jobs = await startJobs(task, (place) => definition.transform(place), tell);
  const stopped = new Promise((resolve) => process.once('message', resolve));
  tell({ type: 'ready' });
  await stopped;
  await jobs.close();
  isDone = true;
  process.disconnect();
}

/**
 * Starts the processes that work on jobs.
 *
 * @param {PeerTask} task
 */
async function startWorkers(task) {
  /** @type {Set<number>} */
  const completed = new Set();
  /** @type {() => void} */
  let onCompleted = () => undefined;
  /** @type {(error: Error) => void} */
  let onFailure = () => undefined;
  /** @type {Promise<never>} */
  const failed = new Promise((_, reject) => {
    onFailure = reject;
  });
  failed.catch(() => undefined);
  const workers = Array.from({ length: task.processes }, () => {
    const child = fork(import.meta.filename, [JSON.stringify({ ...task, role: 'work' })], { execArgv: [] });
    /** @type {Promise<void>} */
    const ready = new Promise((resolve) => {
      child.on('message', (message) => {
        const { type, from, reason } = /** @type {Told} */ (message);
        if (type === 'ready') resolve();
        if (type === 'failed') onFailure(new Error(`a job failed: ${reason}`));
        if (type === 'completed' && from !== undefined) {
          completed.add(from);
          onCompleted();
        }
      });
    });
    child.on('error', onFailure);
    const ended = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        if (code !== 0) onFailure(new Error(`a worker ended with ${code ?? signal}`));
        resolve(undefined);
      });
    });
    return { child, ready, ended };
  });
  await Promise.race([Promise.all(workers.map(({ ready }) => ready)), failed]);
  return {
    /** @param {number} jobs */
    async untilCompleted(jobs) {
      await Promise.race([
        failed,
        new Promise((resolve) => {
          onCompleted = () => completed.size === jobs && resolve(undefined);
          onCompleted();
        }),
      ]);
    },
    async stop() {
      for (const { child } of workers) child.send('stop');
      await Promise.race([Promise.all(workers.map(({ ended }) => ended)), failed]);
    },
  };
}

/** @param {PeerTask} task */
async function lead(task) {
  /** @type {PeerModule} */
  const { connect } = await import(task.peer);
  const models = await import(task.modelsUrl);
  const peer = await connect(task);
  await peer.fill(
    (function* places() {
      for (let n = 0; n < task.records; n += 1) yield models.createPlace(n);
    })(),
  );
  const workers = await startWorkers(task);
  const chunks = chunksOf(task.records);

  const cpuBeforeMs = cpuMsOf([process.pid, task.serverPid], readProcesses());
  const beganMs = performance.now();
  await peer.plan(chunks);
  await workers.untilCompleted(chunks.length);
  await peer.finish();
  const workMs = performance.now() - beganMs;
  const cpuAfterMs = cpuMsOf([process.pid, task.serverPid], readProcesses());

  await workers.stop();
  await peer.publish();
  await check(peer, task.records, models);
  const durability = await peer.durability();
  await peer.close();
  const workCpuMs = cpuBeforeMs === null || cpuAfterMs === null ? null : cpuAfterMs - cpuBeforeMs;
  process.send?.({ workMs, workCpuMs, durability });
  isDone = true;
  process.disconnect?.();
}

/** @type {PeerTask} */
const task = JSON.parse(process.argv[2] ?? '');
// Whoever started this is gone: nobody waits for the rest.
process.on('disconnect', () => {
  if (!isDone) process.exit(1);
});
await (task.role === 'lead' ? lead(task) : work(task));
