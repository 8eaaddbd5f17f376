import { compareIndexes } from './compare-indexes.ts';
import { compareProperties } from './compare-properties.ts';
import { hasOtherEncoding } from './compare-type.ts';
import type { DefinitionData, PropertyData } from './data.ts';
import { Difference } from './difference.ts';
import type { Change, Reason } from './difference.ts';
import { compareVersions, majorOf } from './names.ts';

export type { Change, Reason, ReasonCode } from './difference.ts';

/** What the database knows of one model. */
export interface StoredSide {
  /** The published definition; undefined for a model that was never published. */
  readonly current:
    | {
        readonly data: DefinitionData;
        readonly hash: string;
        readonly version: string;
        /** Grows by one with each incompatible publication. */
        readonly lineage: number;
        /** Which of its indexes are still being built. Default: none. */
        readonly indexes?:
          readonly { readonly name: string; readonly state: 'building' | 'ready' }[] | undefined;
      }
    | undefined;
  /** The definitions published before it. */
  readonly earlier: readonly {
    readonly hash: string;
    readonly version: string;
    readonly lineage: number;
  }[];
}

/** What the program knows of it. */
export interface ConfiguredSide {
  readonly data: DefinitionData;
  readonly hash: string;
}

/** What follows for a model from its stored and its configured definition. */
export type ModelComparison =
  /** Never published here. */
  | { readonly type: 'NewModel' }
  | { readonly type: 'UpToDate' }
  /** To be published as it is: no record and no index entry has to change. */
  | { readonly type: 'OnlySafeAdds'; readonly changes: readonly Change[] }
  /** To be published with these indexes being filled; no record has to change and no gate closes. */
  | {
      readonly type: 'NewIndexesOnExistingProperties';
      readonly indexes: readonly string[];
      readonly changes: readonly Change[];
    }
  /** Records have to be moved or checked; these indexes have to be filled. */
  | {
      readonly type: 'NeedsMigration';
      readonly reasons: readonly Reason[];
      readonly indexes: readonly string[];
    }
  /** The database is ahead of the program. Compatible: the program may serve, and changes no definition. */
  | { readonly type: 'OlderProgram'; readonly compatible: boolean };

/** Compares in the direction from stored to configured. */
export function compareModels(stored: StoredSide, configured: ConfiguredSide): ModelComparison {
  const { current, earlier } = stored;
  if (current === undefined) return { type: 'NewModel' };
  if (current.hash === configured.hash) return { type: 'UpToDate' };
  const same = earlier.filter(({ hash }) => hash === configured.hash);
  if (same.length > 0) {
    return { type: 'OlderProgram', compatible: same.some(({ lineage }) => lineage === current.lineage) };
  }
  if (compareVersions(configured.data.version, current.version) < 0) {
    return { type: 'OlderProgram', compatible: false };
  }
  const building = (current.indexes ?? []).filter(({ state }) => state === 'building');
  return compareDefinitions(current.data, configured.data, new Set(building.map(({ name }) => name)));
}

/** Compares two definitions of which the second is meant to follow the first. */
function compareDefinitions(
  stored: DefinitionData,
  configured: DefinitionData,
  building: ReadonlySet<string>,
): ModelComparison {
  const difference = new Difference();
  compareIdentity(stored, configured, difference);
  compareProperties({ stored, configured, prefix: '' }, { stored, configured }, difference);
  if (isKeyChanged(stored, configured)) {
    difference.breaks('key', '', 'the key changed: other properties, another order, or another type of one');
  }
  const indexes = compareIndexes(stored, configured, building, difference);
  const { reasons, changes } = difference;
  if (reasons.length > 0) return { type: 'NeedsMigration', reasons, indexes };
  if (indexes.length > 0) return { type: 'NewIndexesOnExistingProperties', indexes, changes };
  return { type: 'OnlySafeAdds', changes };
}

function compareIdentity(stored: DefinitionData, configured: DefinitionData, difference: Difference): void {
  if (stored.name !== configured.name) {
    difference.breaks('name', '', `the id belongs to model ${stored.name}, not to ${configured.name}`);
  }
  const versions = `version ${configured.version}, was ${stored.version}`;
  if (majorOf(stored.version) !== majorOf(configured.version)) {
    difference.breaks('majorVersion', '', `major version changed: ${versions}`);
  } else if (stored.version !== configured.version) {
    difference.allows('', versions);
  }
}

/** Whether the same record has another key, or another encoding of it, under the configured definition. */
export function isKeyChanged(stored: DefinitionData, configured: DefinitionData): boolean {
  const [before, after] = [keyProperties(stored), keyProperties(configured)];
  if (before.length !== after.length) return true;
  return before.some((property, position) => {
    const other = after[position];
    if (other === undefined || other.number !== property.number) return true;
    return hasOtherEncoding(property.type, other.type);
  });
}

function keyProperties({ key, properties }: DefinitionData): PropertyData[] {
  return key.flatMap((name) => properties.filter((property) => property.name === name));
}
