import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { drawSeed } from '../rig/seed.ts';

const script = fileURLToPath(new URL('../simulation/main.ts', import.meta.url));
const histories = 2_000;

/** What `npm run simulate` says of these seeds, on all processors. */
async function simulateFrom(first: number): Promise<{ readonly code: number | null; readonly said: string }> {
  const args = ['--import', 'tsx', script, '--seeds', String(histories), '--from', String(first)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said };
}

it(
  `keeps every rule in ${histories} histories of whole clusters that nobody has seen`,
  { timeout: 1_800_000 },
  async () => {
    const { code, said } = await simulateFrom(drawSeed('simulated clusters'));
    // Each history that went wrong stands there with the command that replays it.
    expect(said).toContain('\n0 histories went wrong\n');
    expect(code).toBe(0);
  },
);
