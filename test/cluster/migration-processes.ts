import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { MigrationAuditEventType } from '../../src/migration/audit.ts';
import type { TestPlace } from '../rig/test-place.ts';

/** Where a process stops: at the commit with which it has moved so many records, before it is sent or after it was acknowledged. */
export interface StopPoint {
  readonly records: number;
  readonly side: 'before' | 'after';
}

export interface MigrationOrder {
  readonly place: TestPlace;
  readonly nodeId: string;
  /** Default: runs to the end. */
  readonly stopAt?: StopPoint | undefined;
}

export type MigrationReport =
  | { readonly type: 'loaded' }
  /** A commit with that many records goes to the engine now. */
  | { readonly type: 'sending'; readonly records: number }
  | { readonly type: 'acknowledged'; readonly records: number }
  /** At its stop point. No records are sent to the engine from here on. */
  | { readonly type: 'stopped' }
  /** The ledger of the verification was written. */
  | { readonly type: 'verifying' }
  | { readonly type: 'audit'; readonly event: MigrationAuditEventType }
  | { readonly type: 'serving'; readonly records: number }
  | { readonly type: 'done' }
  | { readonly type: 'failed'; readonly message: string };

/** A process that has been loaded and waits for `go`. */
export interface MigrationProcess {
  /** All it has reported so far. */
  readonly reports: readonly MigrationReport[];
  /** Opens the store, and with it migrates. */
  go(): void;
  /** Lets it leave its stop point. */
  release(): void;
  /** Resolves once `isIt` holds for a report; rejects when the process ends before. */
  reported(isIt: (report: MigrationReport) => boolean): Promise<void>;
  /** SIGKILL, and waits for its end. Fine when it has ended. */
  kill(): Promise<void>;
}

const script = fileURLToPath(new URL('./migration-child.ts', import.meta.url));

export async function startMigrationProcess(order: MigrationOrder): Promise<MigrationProcess> {
  const child = fork(script, { execArgv: ['--import', 'tsx'] });
  const reports: MigrationReport[] = [];
  const listeners = new Set<() => void>();
  let hasEnded = false;
  const tell = () => {
    for (const listener of listeners) listener();
  };
  child.on('message', (message) => {
    reports.push(message as MigrationReport);
    tell();
  });
  // What was reported before the end may arrive after the exit, but not after the end of the channel.
  const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')]).then(() => {
    hasEnded = true;
    tell();
  });
  const reported: MigrationProcess['reported'] = (isIt) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const isThere = reports.some(isIt);
        const failed = reports.find(({ type }) => type === 'failed');
        if (!isThere && failed === undefined && !hasEnded) return;
        listeners.delete(look);
        if (isThere) resolve();
        else
          reject(new Error(`${order.nodeId} ended before that: ${JSON.stringify(failed ?? reports.at(-1))}`));
      };
      listeners.add(look);
      look();
    });
  await reported(({ type }) => type === 'loaded');
  return {
    reports,
    go: () => void child.send(order),
    release: () => void child.send('release'),
    reported,
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

/** How many records the reports of one type add up to. */
export function recordsIn(reports: readonly MigrationReport[], which: 'sending' | 'acknowledged'): number {
  return reports.reduce((sum, report) => sum + (report.type === which ? report.records : 0), 0);
}

export const isReport = (type: MigrationReport['type']) => (report: MigrationReport) => report.type === type;
export const isAudit = (event: MigrationAuditEventType) => (report: MigrationReport) =>
  report.type === 'audit' && report.event === event;
