import { ModelException, RequestException } from '../../src/errors.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import type { AnyModel } from '../../src/model/define.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import { resolveModels } from '../../src/model/resolve.ts';
import type { ConfiguredModel } from '../../src/records/configured-model.ts';
import { createConfiguredModel } from '../../src/records/configured-model.ts';
import type { StoreKeys } from '../../src/records/keys.ts';
import { publishNew } from '../../src/records/publish.ts';
import type { GateOptions } from '../../src/store/gate.ts';
import { createGate } from '../../src/store/gate.ts';
import type { Requests } from '../../src/store/request.ts';
import { createRequests } from '../../src/store/request.ts';
import { createTestDatabase } from './test-database.ts';

/** One program's requests to a database, without a store around them: no migrations, no lease, no bus. */
export interface Program extends Requests {
  readonly model: Requests['model'];
  readonly transact: Requests['transact'];
  readonly keys: StoreKeys;
  readonly configured: (definition: AnyModel) => ConfiguredModel;
  readonly close: () => void;
}

/** A program that publishes nothing. */
export function createProgram(
  database: Pick<KeyValueDatabase, 'transact'>,
  keys: StoreKeys,
  modelsById: AnyModels,
  options: GateOptions = {},
): Program {
  const { models, referenceKeys } = resolveModels(modelsById);
  const configured = new Map<AnyModel, ConfiguredModel>(
    models.map((model) => [
      model.definition,
      createConfiguredModel(model, keys.model(model.id), referenceKeys),
    ]),
  );
  const findModel = (definition: AnyModel): ConfiguredModel => {
    const model = configured.get(definition);
    if (model === undefined)
      throw new ModelException('MODEL_UNKNOWN', `${definition.name} is not registered.`);
    return model;
  };
  let isOpen = true;
  const assertOpen = () => {
    if (!isOpen) throw new RequestException('STORE_CLOSED', 'The store was closed.');
  };
  return {
    ...createRequests({ database, gate: createGate(options), findModel, assertOpen }),
    keys,
    configured: findModel,
    close() {
      isOpen = false;
    },
  };
}

/** The first program of a database, which it may share with any number of others. */
export interface FirstProgram extends Program {
  readonly database: KeyValueDatabase;
  /** Another program on the same database, or on `through`, which leads to it. It publishes nothing. */
  readonly beside: (
    modelsById: AnyModels,
    options?: GateOptions,
    through?: Pick<KeyValueDatabase, 'transact'>,
  ) => Program;
}

/** A fresh database with the models published in it, and a program that serves them. */
export async function openProgram(modelsById: AnyModels, options?: GateOptions): Promise<FirstProgram> {
  const { database, keys } = createTestDatabase();
  const program = createProgram(database, keys, modelsById, options);
  await database.transact(async (tx) => {
    for (const definition of Object.values(modelsById)) await publishNew(tx, program.configured(definition));
  });
  return {
    ...program,
    database,
    beside: (others, gate, through = database) => createProgram(through, keys, others, gate),
  };
}
