import { hostname, userInfo } from 'node:os';
import { natsBus } from '../cluster/nats-bus.ts';
import type { OperatorCall } from '../migration/operators.ts';
import type { StoredStore } from '../store/open-stored.ts';
import { openStored } from '../store/open-stored.ts';
import { createBusConsole } from './bus-console.ts';
import type { Console } from './console.ts';
import { createDatabaseConsole } from './database-console.ts';
import { usageFailure } from './failure.ts';
import type { CallFlags, DatabaseFlags, PlaceFlags, TimeoutFlags } from './flags.ts';
import type { Io } from './io.ts';

/**
 * By the database where one is named, unless only the nodes are on the command line; else through the nodes of a store.
 *
 * @throws CommandFailure OPTION_INVALID; and what opening the database throws
 */
async function connect(io: Io, flags: PlaceFlags & TimeoutFlags): Promise<Console> {
  if (flags.database !== undefined && flags.asksNodes !== true)
    return createDatabaseConsole(await openDatabaseOf(io, flags), io.clock);
  const { nats, store, prefix, databaseId, timeout: timeoutMs } = flags;
  if (nats === undefined) {
    throw usageFailure(
      'Name the database with --database and --subspace, or its nodes with --nats and --store.',
    );
  }
  if (store === undefined) throw usageFailure('--nats needs --store, the storeName of the nodes.');
  const servers = nats.split(',').map((server) => server.trim());
  if (servers.some((server) => /@/.test(server))) {
    throw usageFailure(
      '--nats takes no credentials: set GODWIT_NATS_USER and GODWIT_NATS_PASSWORD, or GODWIT_NATS_TOKEN.',
    );
  }
  const { GODWIT_NATS_USER: user, GODWIT_NATS_PASSWORD: pass, GODWIT_NATS_TOKEN: token } = io.env;
  const bus = natsBus({
    servers,
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(token === undefined ? {} : { token }),
  });
  return createBusConsole(bus, { store, prefix, databaseId, timeoutMs });
}

/**
 * For what only the database tells.
 *
 * @throws CommandFailure OPTION_INVALID; and what opening the database throws
 */
async function openDatabaseOf(
  io: Io,
  { database, subspace, nats }: DatabaseFlags & { readonly nats?: string | undefined },
): Promise<StoredStore> {
  if (database === undefined) {
    const also = nats === undefined ? '' : '; the nodes on the bus cannot be asked for this';
    throw usageFailure(`This needs --database (or GODWIT_DATABASE)${also}.`);
  }
  if (subspace === undefined) throw usageFailure('--database needs --subspace (or GODWIT_SUBSPACE).');
  return openStored({ database, subspace, nodeId: callerOf(io) });
}

export async function withConsole<T>(
  io: Io,
  flags: PlaceFlags & TimeoutFlags,
  work: (console: Console) => Promise<T>,
): Promise<T> {
  const opened = await connect(io, flags);
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

export async function withStored<T>(
  io: Io,
  flags: DatabaseFlags & { readonly nats?: string | undefined },
  work: (store: StoredStore) => Promise<T>,
): Promise<T> {
  const store = await openDatabaseOf(io, flags);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** Who asks, and why: what the flags say, else the user of this machine. */
export function callOf(
  io: Io,
  { by, reason }: CallFlags,
  defaultReason: string,
): Required<Pick<OperatorCall, 'by' | 'reason'>> {
  return { by: by ?? callerOf(io), reason: reason ?? defaultReason };
}

function callerOf({ env }: Pick<Io, 'env'>): string {
  const given = env['GODWIT_BY'];
  if (given !== undefined && given !== '') return given;
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // A user without an entry in the system's list, as in a container.
    return `uid-${process.getuid?.() ?? 'unknown'}@${hostname()}`;
  }
}
