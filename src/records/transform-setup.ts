import type { ErrorCode } from '../errors.ts';
import type { DefinitionData, IndexData, ReferenceKeys } from '../model/data.ts';

/**
 * What it takes to transform the records of one model: plain data, so that it crosses to worker threads. The
 * definitions in it are compiled once per setup and thread.
 */
export interface TransformSetup {
  /** Names this setup among all that a thread may meet. Another content needs another id. */
  readonly id: string;
  readonly modelName: string;
  /** URL of the module with the transform. Absent: the records are carried over as they are. */
  readonly module?: string | undefined;
  /** Every definition that a record may have been written under, the target left out. */
  readonly stored: readonly SetupDefinition[];
  readonly target: SetupDefinition;
  /** Definitions that a record goes through on its way to the target, each by a transform of its own. Default none. */
  readonly via?: readonly SetupLeg[] | undefined;
  readonly references: ReferenceKeys;
  /** What the records lie under now. */
  readonly sourcePrefix: Uint8Array;
  /** What they shall lie under: the same, unless the key definition changed. */
  readonly targetPrefix: Uint8Array;
  readonly keyChanged: boolean;
  readonly indexes: readonly SetupIndex[];
  /** What becomes of a record that does not go through: the chunk is not to be written, or it steps aside. */
  readonly onPoison: 'fail' | 'quarantine';
  /** What records in quarantine lie under. */
  readonly quarantinePrefix: Uint8Array;
}

export interface SetupDefinition {
  readonly schemaId: number;
  readonly version: string;
  readonly data: DefinitionData;
}

export interface SetupLeg {
  readonly target: SetupDefinition;
  /** As in the setup. */
  readonly module?: string | undefined;
}

/** An index of the target that the chunks maintain. */
export interface SetupIndex {
  readonly index: IndexData;
  /** What its entries lie under. */
  readonly prefix: Uint8Array;
  /**
   * `fill`: it is empty and gets the entries of every record. `patch`: it has the entries of the stored records, by
   * the index of the same name in their definitions, and gets the difference.
   */
  readonly mode: 'fill' | 'patch';
}

export interface ChunkInput {
  /** Made by `packRecords`, keys without the source prefix. */
  readonly records: ArrayBuffer;
  /** Records that turned out not to go through when they were written; the same chunk comes again without them. */
  readonly failed?: readonly FailedOrdinal[] | undefined;
}

export interface FailedOrdinal {
  /** Which record of the chunk, from 0. */
  readonly ordinal: number;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface ChunkResult {
  /** Read it with `readMutations`. */
  readonly mutations: ArrayBuffer;
  readonly mutationCount: number;
  /** Bytes of all keys and values in `mutations`. */
  readonly mutationBytes: number;
  /** How many of them are `setIfAbsent`. */
  readonly conditional: number;
  readonly counts: ChunkCounts;
  /** Records that did not go through. With `onPoison: 'fail'` nothing of this chunk may be written if there are any. */
  readonly failures: readonly ChunkFailure[];
}

/** Without failures, or with quarantine: read = moved + dropped + quarantined. */
export interface ChunkCounts {
  readonly read: number;
  /** Records that are under the target definition after the chunk, those that were before included. */
  readonly moved: number;
  readonly dropped: number;
  readonly quarantined: number;
  /** Bytes of keys and values of the moved records, without prefixes. */
  readonly bytes: number;
}

export interface ChunkFailure extends FailedOrdinal {
  /** Without the source prefix. */
  readonly keyBytes: Uint8Array;
}
