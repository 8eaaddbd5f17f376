import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import type { Client, SimCluster } from '../simulation/sim-database.ts';
import { connect, noFaults } from '../simulation/sim-database.ts';
import { World } from '../simulation/world.ts';
import { describeKeyValueConformance } from './kv-suite.ts';

const seed = drawSeed('the simulated database');

/** Without faults, and with somebody who lets the world go on for as long as the test does. */
async function open(clock: Clock = systemClock) {
  const world = new World(createSeededRandom(seed));
  const base = openMemoryDatabase({ clock, random: world.random });
  const cluster: SimCluster<Client> = {
    world,
    base,
    faults: noFaults,
    availableAtMs: 0,
    sizeFactor: 1,
    versionOffsetMs: 0,
    latencyMs: 5,
    operations: 0,
    strikes: 0,
    observe: () => Promise.resolve(undefined),
  };
  const database = connect(cluster, {
    name: 'node-1',
    isDead: false,
    isFrozen: false,
    operates: () => undefined,
  });
  let isOver = false;
  const goOn = async () => {
    while (!isOver) await world.runUntil(() => false, world.nowMs + 1);
  };
  const going = goOn();
  return {
    database,
    dispose: async () => {
      isOver = true;
      await going;
      await base.close();
    },
  };
}

describeKeyValueConformance({ name: 'the simulated database', open: () => open(), openWithClock: open });
