import type { GodwitException } from '../../errors.ts';
import { MigrationException } from '../../errors.ts';
import type { Transaction } from '../../kv/kv.ts';
import {
  isHalfWay,
  ownState,
  otherTransform,
  othersInTheWay,
  targetChanged,
} from '../../migration/hindrance.ts';
import { readOwner } from '../../migration/owner.ts';
import { planModel, readStoredModel } from '../../migration/plan.ts';
import { readStatusIn } from '../../migration/read-status.ts';
import { readSession } from '../../migration/sessions.ts';
import type { MigrationState } from '../../migration/state.ts';
import { readState } from '../../migration/state.ts';
import type { MigrationStatus } from '../../migration/status.ts';
import type { Clock } from '../../ports/clock.ts';
import type { ConfiguredModel } from '../../records/configured-model.ts';
import type { KeyRange } from '../../records/keys.ts';
import { rangeOf } from '../../records/keys.ts';
import { standingError } from '../await-migration.ts';
import type { Program } from '../configure.ts';
import { foreseeSteps } from '../foresee.ts';
import type { Foreseen } from '../refuse-before-writing.ts';

/** A model as one transaction sees it, with all that a plan says of it. */
export interface Look extends Foreseen {
  readonly state: MigrationState | undefined;
  /** Of what is next it is half done. */
  readonly isHalfWay: boolean;
  /** What another program began, or an operator wants: it stands in the way of what is next. */
  readonly hindrance: GodwitException | undefined;
  /** Somebody has the lease: `open` waits for it, and asks what stands in the way when it is free. */
  readonly isOwned: boolean;
  readonly status: MigrationStatus | null;
  /** Where the records lie that have to be read; empty where none has. */
  readonly ranges: readonly KeyRange[];
}

export interface Looker extends Pick<Program, 'keys' | 'handlersFor'> {
  readonly clock: Clock;
  readonly stalledAfterMs: number;
  /** Who does not lead asks nothing but whether others stand still. */
  readonly leads: boolean;
  /** Where migrations go on in the background, `open` does not refuse those that stand still. */
  readonly refusesHalted: boolean;
}

export async function lookAt(tx: Transaction, looker: Looker, model: ConfiguredModel): Promise<Look> {
  const { keys } = model;
  const [stored, state, touched, owner] = await Promise.all([
    readStoredModel(tx, keys),
    readState(tx, keys),
    tx.get(keys.touched),
    readOwner(tx, keys),
  ]);
  const survey = { model, stored, plan: planModel(stored, model) };
  const ahead = await foreseeSteps(tx, looker, survey, state);
  const { plan } = survey;
  const isNext = (plan.type === 'migrate' || plan.type === 'index') && stored !== undefined;
  const own = isNext ? ownState({ plan, state }) : undefined;
  const status =
    own !== undefined || plan.type === 'targetChanged'
      ? await readStatusIn(tx, readerOf(looker), model)
      : null;
  const found = { ...survey, ahead, state, status };
  return {
    ...found,
    isHalfWay: isNext && isHalfWay({ plan, stored, state }),
    hindrance: hindranceOf(found, looker, touched !== undefined),
    isOwned: owner !== undefined && owner.token !== '',
    ranges: rangesOf(found),
  };
}

function readerOf({ keys, clock, stalledAfterMs }: Looker): Parameters<typeof readStatusIn>[1] {
  return {
    migrations: new Map(),
    clock,
    busState: () => null,
    sessions: { find: (tx, session) => readSession(tx, keys, session) },
    stalledAfterMs,
  };
}

/** In the order in which whoever takes the lease asks. */
function hindranceOf(
  { model, stored, plan, state, status }: Pick<Look, 'model' | 'stored' | 'plan' | 'state' | 'status'>,
  { handlersFor, leads, refusesHalted }: Looker,
  isTouched: boolean,
): GodwitException | undefined {
  if (plan.type === 'targetChanged') return targetChanged(model, plan.runningMigrationId);
  if (stored === undefined || (plan.type !== 'migrate' && plan.type !== 'index')) return undefined;
  if (status !== null && ['Paused', 'Canceled', 'Failed'].includes(status.state)) {
    return refusesHalted ? standingError(status) : undefined;
  }
  if (!leads) return undefined;
  const standing = { plan, stored, state };
  const handlers = handlersFor(model, plan.target, stored.current.version);
  const others = othersInTheWay({ ...standing, handlers });
  const own = ownState(standing);
  if (others !== undefined || own === undefined || !isHalfWay(standing)) return others;
  return otherTransform(plan.target, handlers, own, isTouched);
}

export function isTargetChanged(error: GodwitException | undefined): boolean {
  return error instanceof MigrationException && error.code === 'MIGRATION_TARGET_CHANGED';
}

function rangesOf({
  model,
  stored,
  plan,
  ahead,
}: Pick<Look, 'model' | 'stored' | 'plan' | 'ahead'>): readonly KeyRange[] {
  const reading = ahead.find(({ type }) => type !== 'publish');
  if (stored === undefined || (reading === undefined && plan.type !== 'targetChanged')) return [];
  const { keySpace, mixedKeySpaces } = stored.fence;
  const keySpaces =
    reading?.type === 'migrate'
      ? reading.closed.state.sourceKeySpaces
      : [keySpace, ...(reading === undefined ? mixedKeySpaces : [])];
  return keySpaces.map((one) => rangeOf(model.keys.records(one)));
}
