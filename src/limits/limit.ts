export interface Limit {
  /** The most that there is. */
  readonly value: number;
  readonly unit: 'bytes' | 'ms' | 'characters' | 'digits' | 'levels' | 'records' | 'rows' | 'keys' | Things;
  /** Where the number comes from. */
  readonly source: string;
  /** What happens one past it. */
  readonly beyond: string;
}

type Things =
  | 'commits'
  | 'entries'
  | 'events'
  | 'models'
  | 'mutations'
  | 'pairs'
  | 'ranges'
  | 'readers'
  | 'tasks'
  | 'threads'
  | 'tries'
  | 'setups'
  | 'violations'
  | 'watches';
