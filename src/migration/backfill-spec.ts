import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MigrationException } from '../errors.ts';
import type { DefinitionData } from '../model/data.ts';
import type { Transform, TransformDefinition } from '../model/transform.ts';
import { isTransform } from '../model/transform.ts';

interface BackfillPolicy {
  /** Versions that the transform takes. Default: the stored version only. */
  readonly accepts?: readonly string[] | undefined;
  /**
   * What becomes of a record on which the transform throws, or whose result is refused: `fail` fails the migration,
   * `quarantine` takes the record out of the model and keeps its bytes. Default `fail`.
   */
  readonly onPoison?: 'fail' | 'quarantine' | undefined;
  /** With `quarantine`: more than these, and the migration fails. Default 100. */
  readonly maxQuarantined?: number | undefined;
}

export type BackfillOptions = BackfillPolicy &
  (
    | {
        /** A module whose default export was made by `defineTransform`: a URL, a `file:` string or an absolute path. */
        readonly module: URL | string;
      }
    | {
        /** Runs on the main thread, between requests: for transforms that cost next to nothing. */
        readonly transform: Transform<Readonly<Record<string, unknown>>, unknown> | TransformDefinition;
      }
    | {
        /** Values are carried over and validated: the way to tighten a limit. */
        readonly unchanged: true;
      }
  );

/** A migration handler that moves records by a transform: what `backfill` makes. */
export interface Backfill {
  readonly kind: 'backfill';
  readonly work:
    | { readonly type: 'module'; readonly url: string; readonly path: string }
    | {
        readonly type: 'inline';
        readonly transform: Transform;
        /** What `defineTransform` knows of it. */
        readonly definition?: TransformDefinition;
      }
    | { readonly type: 'unchanged' }
    | { readonly type: 'composed'; readonly legs: readonly BackfillLeg[] };
  readonly accepts: readonly string[] | undefined;
  readonly onPoison: 'fail' | 'quarantine';
  readonly maxQuarantined: number;
}

/** One of several transforms that a record goes through in one pass. */
export interface BackfillLeg {
  readonly work: Exclude<Backfill['work'], { readonly type: 'composed' }>;
  /** What it makes records of. */
  readonly target: { readonly version: string; readonly data: DefinitionData };
}

/** Several backfills as one: a record goes through all of them, and is written once. */
export function composeBackfills(
  steps: readonly { readonly backfill: Backfill; readonly target: BackfillLeg['target'] }[],
): Backfill {
  const [first] = steps;
  if (first === undefined) throw new Error('there is nothing to compose');
  const legs = steps.map(({ backfill: { work }, target }) => {
    if (work.type === 'composed') throw new Error('what is composed already cannot be a leg');
    return { work, target };
  });
  return Object.freeze({
    kind: 'backfill',
    work: { type: 'composed' as const, legs },
    accepts: first.backfill.accepts,
    onPoison: first.backfill.onPoison,
    maxQuarantined: first.backfill.maxQuarantined,
  });
}

/** All of them on a thread, or all in place. */
export function runInOnePlace(backfills: readonly Backfill[]): boolean {
  return new Set(backfills.map(({ work }) => work.type).filter((type) => type !== 'unchanged')).size <= 1;
}

/** Whether backfills can be one: in one place, with one policy. */
export function areComposable(backfills: readonly Backfill[]): boolean {
  const policies = new Set(backfills.map(({ onPoison, maxQuarantined }) => `${onPoison} ${maxQuarantined}`));
  return runInOnePlace(backfills) && policies.size === 1;
}

const defaultMaxQuarantined = 100;

/**
 * Moves every record of a model through a transform, in chunks of one transaction each, in worker threads.
 *
 * @throws MigrationException TRANSFORM_INVALID when none or several of the three ways are given, or a value is no use
 */
export function backfill(options: BackfillOptions): Backfill {
  const { onPoison = 'fail', maxQuarantined = defaultMaxQuarantined, accepts } = options;
  if (onPoison !== 'fail' && onPoison !== 'quarantine') throw invalid('onPoison is "fail" or "quarantine"');
  if (!Number.isSafeInteger(maxQuarantined) || maxQuarantined < 0) {
    throw invalid('maxQuarantined is a whole number from 0');
  }
  return Object.freeze({ kind: 'backfill', work: workOf(options), accepts, onPoison, maxQuarantined });
}

function workOf(options: object): Backfill['work'] {
  const given = options as { module?: unknown; transform?: unknown; unchanged?: unknown };
  const ways = (['module', 'transform', 'unchanged'] as const).filter((way) => given[way] !== undefined);
  if (ways.length !== 1) throw invalid('give exactly one of module, transform and unchanged');
  if (given.module !== undefined) {
    const url = urlOf(given.module);
    return { type: 'module', url: url.href, path: fileURLToPath(url) };
  }
  if (given.unchanged !== undefined) {
    if (given.unchanged !== true) throw invalid('unchanged can only be true');
    return { type: 'unchanged' };
  }
  if (isTransform(given.transform)) {
    return { type: 'inline', transform: given.transform.transform, definition: given.transform };
  }
  if (typeof given.transform === 'function')
    return { type: 'inline', transform: given.transform as Transform };
  throw invalid('transform is a function, or what defineTransform made');
}

function urlOf(module: unknown): URL {
  if (module instanceof URL && module.protocol === 'file:') return module;
  if (typeof module === 'string' && module.startsWith('file:')) return new URL(module);
  if (typeof module === 'string' && isAbsolute(module)) return pathToFileURL(module);
  throw invalid("module is a file: URL or an absolute path, as new URL('./x.js', import.meta.url) makes one");
}

/** Tells one transform from another: nodes that have different ones must not move records of the same migration. */
export function transformHash({ work }: Pick<Backfill, 'work'>): string {
  const hash = createHash('sha256');
  switch (work.type) {
    case 'module':
      return hash.update(readFileSync(work.path)).digest('hex');
    case 'inline':
      return hash.update(work.transform.toString()).digest('hex');
    case 'unchanged':
      return 'unchanged';
    case 'composed':
      for (const leg of work.legs) hash.update(transformHash({ work: leg.work }));
      return hash.digest('hex');
  }
}

function invalid(problem: string): MigrationException {
  return new MigrationException('TRANSFORM_INVALID', `backfill: ${problem}.`);
}
