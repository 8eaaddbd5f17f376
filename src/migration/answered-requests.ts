import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { ModelKeys } from '../records/keys.ts';
import { rangeOf } from '../records/keys.ts';
import {
  createRowFormat,
  isBoolean,
  isCount,
  isObject,
  isOneOf,
  isOptional,
  isString,
} from '../records/row.ts';
import type { Intent } from './intent.ts';
import type { MigrationStatus } from './status.ts';

/** What an operator asked for and was told, kept in the transaction that did it. */
export type AnsweredRequest = ToldRequest & {
  readonly want: Intent['want'] | 'approve';
  /** Of the intent in force behind the request. */
  readonly revision: number;
  readonly status: MigrationStatus;
};

export type ToldRequest =
  | { readonly accepted: true }
  | { readonly accepted: false; readonly code: 'MIGRATION_NOT_PENDING' | 'APPROVAL_NOT_AWAITED' };

interface AnswerRow extends Pick<AnsweredRequest, 'want' | 'accepted' | 'revision'> {
  readonly code?: string | undefined;
  readonly status: Record<string, unknown>;
}

const answerFormat = createRowFormat<AnswerRow>('answer', {
  want: isOneOf('run', 'pause', 'cancel', 'approve'),
  accepted: isBoolean,
  code: isOptional(isOneOf('MIGRATION_NOT_PENDING', 'APPROVAL_NOT_AWAITED')),
  revision: isCount,
  // Told again as it was told, and never acted on.
  status: isObject,
});

interface NumberedRequest {
  readonly number: number;
  readonly requestId: string;
}

const numberFormat = createRowFormat<NumberedRequest>('answer number', {
  number: isCount,
  requestId: isString,
});

const maxAnswers = limits.migration.keptAnswers.value;

/** Undefined for a request that was never carried out, or so long ago that it is forgotten. */
export async function readAnswer(
  tx: Transaction,
  keys: ModelKeys,
  requestId: string,
): Promise<AnsweredRequest | undefined> {
  const row = answerFormat.parseOptional(await tx.get(keys.answer(requestId)));
  return row as unknown as AnsweredRequest | undefined;
}

/** Of two requests at the same time one conflicts, and is carried out behind the other. */
export async function keepAnswer(
  tx: Transaction,
  keys: ModelKeys,
  requestId: string,
  answer: AnsweredRequest,
): Promise<void> {
  const { begin, end } = rangeOf(keys.answerNumbers);
  const [latest] = await tx.getRangeAll(begin, end, { reverse: true, limit: 1 });
  const number = (latest === undefined ? 0 : numberFormat.parse(latest.value).number) + 1;
  tx.set(keys.answer(requestId), answerFormat.encode(answer as unknown as AnswerRow));
  tx.set(keys.answerNumber(number), numberFormat.encode({ number, requestId }));
  if (number <= maxAnswers) return;
  const forgotten = keys.answerNumber(number - maxAnswers);
  const oldest = numberFormat.parseOptional(await tx.get(forgotten));
  if (oldest === undefined) return;
  tx.clear(forgotten);
  tx.clear(keys.answer(oldest.requestId));
}
