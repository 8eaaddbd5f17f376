import { MigrationException } from '../errors.ts';
import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import type { AnyModel } from '../model/define.ts';
import type { RequestMeter } from '../migration/request-meter.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { CallMemory, RecordAccess } from '../records/record-access.ts';
import type { Gate } from './gate.ts';
import type { RequestOptions } from './model-query.ts';
import type { ModelStore, OperationContext, OperationRunner } from './model-store.ts';
import { createModelStore } from './model-store.ts';
import { abortedError, callError } from './request-error.ts';

/** Several operations in one transaction: all of them happen, or none. */
export interface RequestTransaction {
  /** @throws ModelException MODEL_UNKNOWN */
  model<M extends AnyModel>(definition: M): ModelStore<M>;
}

/** The requests of one open store. */
export interface Requests {
  /** @throws ModelException MODEL_UNKNOWN */
  model<M extends AnyModel>(definition: M): ModelStore<M>;
  /**
   * Runs `body` in one transaction, again whenever it conflicts: it should touch nothing but the transaction. It has
   * 5 s. At least once: where the database does not know whether it committed (1021), the body runs again and finds
   * what it wrote, if it did; single calls of a `ModelStore` know themselves again, this cannot.
   */
  transact<T>(body: (tx: RequestTransaction) => Promise<T>, options?: RequestOptions): Promise<T>;
}

export interface RequestsOptions {
  /** Runs every transaction; whoever has a guard to check wraps it in here. */
  readonly database: Pick<KeyValueDatabase, 'transact'>;
  readonly gate: Gate;
  /** @throws ModelException MODEL_UNKNOWN */
  readonly findModel: (definition: AnyModel) => ConfiguredModel;
  /** @throws RequestException STORE_CLOSED, once the store is closed */
  readonly assertOpen: () => void;
  /** Is told of each request that was answered. Absent: what a migration does by itself, which is no request. */
  readonly meter?: Pick<RequestMeter, 'answered'> | undefined;
}

export function createRequests({ database, gate, findModel, assertOpen, meter }: RequestsOptions): Requests {
  /** One transaction, with the driver's errors translated where they leave. */
  const transact = async <T>(
    body: (tx: Transaction) => Promise<T>,
    { signal }: RequestOptions = {},
  ): Promise<T> => {
    assertOpen();
    if (signal?.aborted === true) throw abortedError(signal);
    try {
      const answer = await database.transact(body, { signal, isRequest: meter !== undefined });
      meter?.answered();
      return answer;
    } catch (error) {
      throw callError(error, signal, assertOpen);
    }
  };

  const single: OperationRunner = {
    run(_kind, operation, options) {
      const memory: CallMemory = {};
      return transact(
        (tx) => operation({ tx, memory, enter: (model, firstRead) => gate.enter(tx, model, firstRead) }),
        options,
      );
    },
  };

  return {
    model: (definition) => createModelStore(definition, findModel(definition), single),
    transact: (body, options) =>
      transact(async (tx) => {
        const runner = createTransactionRunner(tx, gate);
        try {
          return await body({
            model: (definition) => createModelStore(definition, findModel(definition), runner),
          });
        } finally {
          await runner.end();
        }
      }, options),
  };
}

interface TransactionRunner extends OperationRunner {
  /** Waits for what was begun and not awaited; later operations are refused. */
  end(): Promise<void>;
}

/** Operations of one transaction: it enters each model once, and writes one after another. */
function createTransactionRunner(tx: Transaction, gate: Gate): TransactionRunner {
  const entered = new Map<ConfiguredModel, Promise<RecordAccess>>();
  /** Two writes that run at the same time would both find a unique entry free. */
  let writes: Promise<unknown> = Promise.resolve();
  const pending = new Set<Promise<unknown>>();
  let ended = false;

  const context: OperationContext = {
    tx,
    memory: undefined,
    async enter(model, firstRead) {
      let access = entered.get(model);
      if (access === undefined) {
        access = gate.readGate(tx, model);
        entered.set(model, access);
      }
      const found = await access;
      return { access: found, first: firstRead(found) };
    },
  };

  return {
    run(kind, operation, options) {
      if (ended) return Promise.reject(transactionEnded());
      const { signal } = options ?? {};
      const start = () =>
        signal?.aborted === true ? Promise.reject(abortedError(signal)) : operation(context);
      const result = kind === 'read' ? start() : writes.then(start);
      const settled = result.then(
        () => undefined,
        () => undefined,
      );
      if (kind === 'write') writes = settled;
      pending.add(settled);
      void settled.then(() => pending.delete(settled));
      return result;
    },
    async end() {
      while (pending.size > 0) await Promise.all(pending);
      ended = true;
    },
  };
}

function transactionEnded(): MigrationException {
  return new MigrationException(
    'CONTEXT_EXPIRED',
    'The transaction has ended: await every call before the body of transact returns.',
  );
}
