import { MigrationException } from '../errors.ts';
import type { TransformDefinition } from '../model/transform.ts';
import { isTransform } from '../model/transform.ts';
import type { TransformSetup } from './transform-setup.ts';

/**
 * Imports the module of a setup and checks that its default export is a transform from one of the stored definitions
 * to the target. Undefined for a setup without a module.
 *
 * @throws MigrationException TRANSFORM_INVALID
 */
export async function loadTransform(setup: TransformSetup): Promise<TransformDefinition | undefined> {
  if (setup.module === undefined) return undefined;
  let loaded: unknown;
  try {
    loaded = await import(/* @vite-ignore */ setup.module);
  } catch (cause) {
    const text = cause instanceof Error ? `${cause.name}: ${cause.message}` : 'it threw no Error';
    throw invalid(setup, `${setup.module} cannot be loaded: ${text}`, cause);
  }
  const transform = defaultExport(loaded);
  if (transform === undefined) {
    throw invalid(setup, `${setup.module} has no default export made by defineTransform`);
  }
  checkTransform(setup, transform);
  return transform;
}

/**
 * The transforms of all legs of a setup, that to the target last.
 *
 * @throws MigrationException TRANSFORM_INVALID
 */
export async function loadTransforms(
  setup: TransformSetup,
): Promise<readonly (TransformDefinition | undefined)[]> {
  return Promise.all(legSetups(setup).map((leg) => loadTransform(leg)));
}

/** Each leg of a setup as a setup of its own, from the definition before it. */
export function legSetups(setup: TransformSetup): readonly TransformSetup[] {
  const legs = [...(setup.via ?? []), { target: setup.target, module: setup.module }];
  return legs.map(({ target, module }, at) => {
    const before = legs[at - 1];
    return {
      ...setup,
      via: undefined,
      stored: before === undefined ? setup.stored : [before.target],
      target,
      module,
    };
  });
}

/** @throws MigrationException TRANSFORM_INVALID for a transform of other definitions than the setup's */
export function checkTransform(setup: TransformSetup, { source, target }: TransformDefinition): void {
  const { modelName } = setup;
  if (target.name !== modelName || target.version !== setup.target.version) {
    const wanted = `${modelName} ${setup.target.version}`;
    throw invalid(setup, `it makes records of ${target.name} ${target.version}, not of ${wanted}`);
  }
  if (source === undefined) return;
  const versions = setup.stored.map(({ version }) => version);
  if (source.name !== modelName || !versions.includes(source.version)) {
    const wanted = `${modelName} ${versions.join(' or ')}`;
    throw invalid(setup, `it takes records of ${source.name} ${source.version}, but they are of ${wanted}`);
  }
}

/** An ES module's default export; compiled to CommonJS it lies one level deeper. */
function defaultExport(loaded: unknown): TransformDefinition | undefined {
  const outer = defaultOf(loaded);
  return [outer, defaultOf(outer)].find(isTransform);
}

function defaultOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, 'default') : undefined;
}

function invalid({ modelName }: TransformSetup, reason: string, cause?: unknown): MigrationException {
  return new MigrationException(
    'TRANSFORM_INVALID',
    `The transform of ${modelName} does not fit: ${reason}.`,
    {
      details: { model: modelName },
      cause,
    },
  );
}
