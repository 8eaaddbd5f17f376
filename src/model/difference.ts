/** What comparing two definitions finds. */

/** What kind of change asks for a migration. */
export type ReasonCode =
  /** The id belongs to a model of another name. */
  | 'name'
  /** The major version changed. */
  | 'majorVersion'
  /** Other key properties, another order of them, or another encoding of one. */
  | 'key'
  /** The type changed. */
  | 'type'
  /** A property has another number. */
  | 'number'
  /** A new property is required. */
  | 'requiredAdded'
  /** An optional property became required. */
  | 'required'
  /** Removed without number and name being reserved. */
  | 'removed'
  /** Renamed without the old name among the alternative ones. */
  | 'renamed'
  /** A reserved number or name is used again. */
  | 'reservedUsed'
  /** A number or name is no longer reserved. */
  | 'reservationDropped'
  /** A limit of value or size became stricter. */
  | 'limit'
  /** Another regular expression, or one where there was none. */
  | 'regex'
  /** An enum case removed without number and name being reserved. */
  | 'caseRemoved'
  /** An enum case has another name or number. */
  | 'caseChanged'
  /** A reference leads to another model. */
  | 'referenceTarget'
  /** A reference that was weak is so no longer. */
  | 'referenceStrong'
  /** An index over existing properties became, or was added as, unique. */
  | 'unique'
  /** A migration was reset half-way: records of its target are there, and the target was never published. */
  | 'mixedRecords';

/** A change that does not ask for a migration. */
export interface Change {
  /** Such as `address.city`; absent where it concerns the model as a whole. */
  readonly property?: string;
  /** In words that name the property: `address.city: may be missing now`. */
  readonly message: string;
}

/** A change that asks for a migration. */
export interface Reason extends Change {
  readonly code: ReasonCode;
}

/** Collects what is found on the way through two definitions. */
export class Difference {
  readonly reasons: Reason[] = [];
  readonly changes: Change[] = [];
  readonly #seen = new Set<string>();

  /** Asks for a migration. */
  breaks(code: ReasonCode, path: string, what: string): void {
    this.reasons.push({ code, ...described(path, what) });
  }

  /** Is published as it is. */
  allows(path: string, what: string): void {
    this.changes.push(described(path, what));
  }

  /** Whether a pair of embedded definitions comes by for the first time: recursion ends here. */
  isNew(storedName: string, configuredName: string): boolean {
    const pair = `${storedName} ${configuredName}`;
    if (this.#seen.has(pair)) return false;
    this.#seen.add(pair);
    return true;
  }
}

function described(path: string, what: string): Change {
  return path === '' ? { message: what } : { property: path, message: `${path}: ${what}` };
}
