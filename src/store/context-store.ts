import { ModelException } from '../errors.ts';
import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import { count } from '../migration/counters.ts';
import type { ContextScope } from '../migration/runtime.ts';
import { hashOf } from '../model/canonical.ts';
import type { AnyModel } from '../model/define.ts';
import { definitionData } from '../model/normalize.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { Fence } from '../records/fence.ts';
import { createModelView } from '../records/model-view.ts';
import type { RecordAccess } from '../records/record-access.ts';
import { createRecordAccess } from '../records/record-access.ts';
import { createGate } from './gate.ts';
import type { Requests } from './request.ts';
import { createRequests } from './request.ts';

/**
 * The requests of one step of a migration: they pass the gate of its own model, by the new definition. Every
 * transaction checks that this node still owns the migration, and ends with the step.
 */
export function createContextRequests(
  { migration, held, track }: ContextScope,
  {
    findModel,
    assertOpen,
  }: {
    readonly findModel: (definition: AnyModel) => ConfiguredModel;
    readonly assertOpen: () => void;
  },
): Requests {
  const { runtime, model } = migration;
  const database: Pick<KeyValueDatabase, 'transact'> = {
    transact: (body, transactOptions) =>
      track(() =>
        runtime.database.transact(async (tx) => {
          await held.lease.guard(tx);
          return body(tx);
        }, transactOptions),
      ),
  };
  const target = held.stored.definitions.get(held.state.targetSchemaId);
  const admit = (_tx: Transaction, asked: ConfiguredModel, fence: Fence) => {
    if (asked.id !== model.id || target === undefined) return Promise.resolve(undefined);
    const view = createModelView(model, { ...fence, keySpace: held.state.targetKeySpace }, target);
    const touch = (tx: Transaction) => {
      tx.set(model.keys.touched, Buffer.from(held.state.migrationId));
      // No counter, but a sign of life.
      count(tx, model.keys, runtime.clock.wallMs(), {});
    };
    return Promise.resolve(touching(createRecordAccess(view), touch));
  };
  /** On the way to a version between, the model is what that one says, and nothing of the last one's can be kept. */
  const findInStep = (definition: AnyModel): ConfiguredModel => {
    if (model === migration.configured || definition.name !== model.name) return findModel(definition);
    if (hashOf(definitionData(definition)) === model.hash) return model;
    throw otherVersion(definition, model);
  };
  return createRequests({ database, gate: createGate({ admit }), findModel: findInStep, assertOpen });
}

function otherVersion({ name, version }: AnyModel, model: ConfiguredModel): ModelException {
  const message = `This step makes ${name} ${model.data.version}: use the dataModel of the step, not version ${version}.`;
  return new ModelException('MODEL_UNKNOWN', message, {
    details: { model: name, version, stepVersion: model.data.version },
  });
}

/** What is written marks the migration: there is no way back by itself any more. */
function touching(access: RecordAccess, touch: (tx: Transaction) => void): RecordAccess {
  return {
    ...access,
    add(tx, ...rest) {
      touch(tx);
      return access.add(tx, ...rest);
    },
    change(tx, ...rest) {
      touch(tx);
      return access.change(tx, ...rest);
    },
    put(tx, ...rest) {
      touch(tx);
      return access.put(tx, ...rest);
    },
    delete(tx, ...rest) {
      touch(tx);
      return access.delete(tx, ...rest);
    },
  };
}
