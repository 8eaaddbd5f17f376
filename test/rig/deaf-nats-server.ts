import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';

/** Speaks NATS until the client is connected, and reads nothing from then on. */
export interface DeafServer {
  readonly address: string;
  /** Twice is fine. */
  close(): Promise<void>;
}

export async function startDeafServer(): Promise<DeafServer> {
  const sockets = new Set<Socket>();
  const listening = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    const info = { server_id: 'deaf', version: '2.9.10', proto: 1, headers: true, max_payload: 64_000_000 };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on('data', (data) => {
      if (!data.toString('latin1').includes('PING\r\n')) return;
      socket.write('PONG\r\n');
      socket.pause();
    });
  });
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  const { port } = listening.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      // Twice is fine: that it was not open is what is wanted.
      await new Promise<void>((resolve) => listening.close(() => resolve()));
    },
  };
}
