#!/usr/bin/env node
import { systemIo } from './io.ts';
import { run } from './program.ts';

// Whoever reads the results may have had enough of them.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

const code = await run(process.argv.slice(2), systemIo);
// Whatever the program whose models were loaded has left open must not keep a deployment waiting.
process.stdout.write('', () => process.exit(code));
