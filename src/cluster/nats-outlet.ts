import type { NatsConnection, NatsError } from 'nats';
import { limits } from '../limits.ts';
import type { BusStateKeeper } from './bus-state.ts';
import { messageOf } from './bus-state.ts';

const maxPendingBytes = limits.cluster.pendingBytes.value;
/** So many bytes are sent before the server is asked whether it has them. */
const flushBytes = maxPendingBytes / 16;

/** Where messages leave. The client buffers without a bound what the server does not read: this one counts. */
export interface NatsOutlet {
  /** Through that connection from now on; undefined: nothing goes out. */
  open(connection: NatsConnection | undefined): void;
  publish(subject: string, payload: Uint8Array): void;
}

export function createNatsOutlet(keeper: BusStateKeeper): NatsOutlet {
  let connection: NatsConnection | undefined;
  /** Told apart from what an earlier connection still answers. */
  let generation = 0;
  let pendingBytes = 0;
  let flushing = false;

  const flush = (through: NatsConnection) => {
    if (flushing || pendingBytes < flushBytes) return;
    flushing = true;
    const asked = { generation, bytes: pendingBytes };
    const settle = (took: boolean) => {
      if (asked.generation !== generation) return;
      flushing = false;
      // Not taken: the connection is lost, and will be told to be.
      if (!took) return;
      pendingBytes -= asked.bytes;
      flush(through);
    };
    through.flush().then(
      () => settle(true),
      () => settle(false),
    );
  };

  return {
    open(next) {
      connection = next;
      generation += 1;
      pendingBytes = 0;
      flushing = false;
    },
    publish(subject, payload) {
      const bytes = subject.length + payload.byteLength;
      if (connection === undefined || pendingBytes + bytes > maxPendingBytes) return keeper.dropped();
      try {
        connection.publish(subject, payload);
      } catch (error) {
        keeper.dropped();
        keeper.failed((error as NatsError).code, messageOf(error));
        return;
      }
      pendingBytes += bytes;
      flush(connection);
    },
  };
}
