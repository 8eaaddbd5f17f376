import type { Intent } from '../../src/migration/intent.ts';
import type { RangeRow } from '../../src/migration/passes/ledger.ts';
import { totalsOf } from '../../src/migration/passes/ledger.ts';
import type { MigrationState } from '../../src/migration/state.ts';
import { migrationPhases } from '../../src/migration/state.ts';
import type { PassName } from '../../src/records/keys.ts';
import { passNames } from '../../src/records/keys.ts';
import type { Picture } from './picture.ts';
import type { SimCommit } from './sim-database.ts';

/** A rule that no commit may break: what it is, and what broke it. */
export class Violation extends Error {
  constructor(rule: string, what: string) {
    super(`${rule}: ${what}`);
    this.name = 'Violation';
  }
}

/** What holds between the picture of a model before a commit and the one after it. */
export function checkCommit(commit: SimCommit, was: Picture, is: Picture): void {
  checkOwnership(was, is);
  checkFence(was, is);
  checkState(was, is);
  checkApproval(commit, was, is);
  checkStandstill(was, is);
  for (const pass of passNames) checkRanges(commit, was, is, pass);
}

export function requireOwner({ node }: SimCommit, { owner }: Picture, after: Picture, rule: string): void {
  const isOwner = owner !== undefined && owner.token !== '' && node.process.sessions.has(owner.session);
  if (isOwner && after.owner?.token === owner.token) return;
  throw new Violation(
    rule,
    `${node.name} wrote, ${owner?.nodeId ?? 'nobody'} owns under ${owner?.epoch ?? 0}`,
  );
}

/** Whoever has claimed ranges of a migration that somebody owns, or owns it: handlers write by hand. */
export function requireMigrator(commit: SimCommit, was: Picture, is: Picture, rule: string): void {
  const { sessions } = commit.node.process;
  const hasClaim = passNames.some((pass) =>
    was.ranges[pass].some(({ claim }) => claim !== null && sessions.has(claim.session)),
  );
  if (!hasClaim) requireOwner(commit, was, is, rule);
  else requireOwned(commit, was, is, rule);
}

/** Only the holder of its claim advances a range, under an ownership that stands. */
function requireMover(commit: SimCommit, was: Picture, is: Picture, { claim }: RangeRow): void {
  const rule = 'only who has claimed a range advances it';
  requireOwned(commit, was, is, rule);
  if (claim !== null && commit.node.process.sessions.has(claim.session)) return;
  throw new Violation(rule, `${commit.node.name} did, ${claim?.session ?? 'nobody'} has claimed it`);
}

function requireOwned({ node }: SimCommit, { owner }: Picture, after: Picture, rule: string): void {
  if (owner !== undefined && owner.token !== '' && after.owner?.token === owner.token) return;
  throw new Violation(rule, `${node.name} wrote while nobody owned it under ${owner?.epoch ?? 0}`);
}

function checkOwnership({ owner: was }: Picture, { owner: is }: Picture): void {
  if (was === undefined) return;
  if (is === undefined) throw new Violation('an owner row is never lost', `epoch ${was.epoch}`);
  const isGranted = is.token !== '' && is.token !== was.token;
  if (is.epoch < was.epoch || (isGranted && is.epoch <= was.epoch)) {
    throw new Violation('epochs only grow', `${was.epoch} to ${is.epoch}`);
  }
}

function checkFence(was: Picture, is: Picture): void {
  const before = was.fence;
  const after = is.fence;
  if (before === undefined || after === undefined) return;
  if (after.schemaEpoch < before.schemaEpoch) throw new Violation('schema epochs only grow', 'fence');
  if (before.state === 'ready' && after.state === 'migrating' && (is.owner?.token ?? '') === '') {
    throw new Violation('the gate closes with the ownership', `epoch ${is.owner?.epoch ?? 0}`);
  }
  if (before.state !== 'migrating' || after.state !== 'ready') return;
  const isPublished = after.schemaId === before.target?.schemaId && after.schemaId !== before.schemaId;
  if (!isPublished) {
    if (was.isTouched)
      throw new Violation('the gate opens with a publication', 'records were written before');
    return;
  }
  const { state } = was;
  if (state?.phase !== 'Contract' || !state.phaseCompleted) {
    throw new Violation('published is what was contracted', `${state?.phase ?? 'no phase'}`);
  }
  if (is.state !== undefined || Object.values(is.ranges).some((rows) => rows.length > 0)) {
    throw new Violation('state and ranges end with the publication', state.migrationId);
  }
}

function checkState(was: Picture, is: Picture): void {
  const before = was.state;
  const after = is.state;
  if (before === undefined || after === undefined || before.migrationId !== after.migrationId) return;
  if (after.revision < before.revision) throw new Violation('revisions only grow', before.migrationId);
  const [from, to] = [migrationPhases.indexOf(before.phase), migrationPhases.indexOf(after.phase)];
  if (after.revision === before.revision) return;
  // Canceled or failed before anything was written, it opened the model again, and closes it anew.
  const beginsAnew = after.phase === 'Expand' && was.fence?.state === 'ready';
  if (to < from && !beginsAnew)
    throw new Violation('phases only go forward', `${before.phase} to ${after.phase}`);
  if (to > from && !(to === from + 1 && before.phaseCompleted)) {
    throw new Violation(
      'a phase begins when the one before it is completed',
      `${before.phase} to ${after.phase}`,
    );
  }
  if (after.status === 'Failed' && before.status !== 'Failed') requireNoCancel(is.intent, before);
  const isHalted = ['Paused', 'Canceled', 'Failed'].includes(before.status);
  if (!isHalted || before.status === after.status) return;
  const isResumed = is.intent?.want === 'run' && (is.intent.revision ?? 0) > before.intentRevision;
  const isCanceled = after.status === 'Canceled' && is.intent?.want === 'cancel';
  if (!isResumed && !isCanceled) {
    throw new Violation(
      'what stands still goes on only by an operator',
      `${before.status} to ${after.status}`,
    );
  }
}

/** What an operator is told stands still does: nobody has anything of it left to write. */
function checkStandstill(was: Picture, is: Picture): void {
  const { state } = is;
  if (state === undefined || (state.status !== 'Paused' && state.status !== 'Canceled')) return;
  if (was.state?.revision === state.revision) return;
  const claimed = passNames.flatMap((pass) => is.ranges[pass]).find(({ claim }) => claim !== null);
  if (claimed !== undefined) {
    throw new Violation('what is paused or canceled is claimed by nobody', `${claimed.claim?.session ?? ''}`);
  }
}

/**
 * An approval is of what has passed Verify, and ends with it: with a verification anew, a cancel, a reset, or the
 * publication. So whoever starts Contract and asks for one uses one that was given since.
 */
function checkApproval({ node }: SimCommit, was: Picture, is: Picture): void {
  const [before, after] = [was.state, is.state];
  const { approval } = is;
  if (approval !== undefined && approval.id !== was.approval?.id) {
    const isVerified = before?.phase === 'Contract' || (before?.phase === 'Verify' && before.phaseCompleted);
    const hasEnded = before?.status === 'Failed' || before?.status === 'Canceled';
    if (!isVerified || hasEnded || before.migrationId !== approval.migrationId) {
      throw new Violation(
        'only what has passed Verify is approved',
        `${approval.migrationId}: ${before?.migrationId ?? ''} is in ${before?.phase ?? 'no phase'}`,
      );
    }
    if (was.approval?.migrationId === approval.migrationId) {
      throw new Violation('what is approved is not approved again', approval.migrationId);
    }
  }
  const isOver = before !== undefined && after === undefined;
  const isVerifiedAnew = after?.phase === 'Verify' && !after.phaseCompleted;
  if (approval !== undefined && (isOver || isVerifiedAnew || after?.status === 'Canceled')) {
    throw new Violation('an approval ends with what it is of', approval.migrationId);
  }
  if (after?.phase !== 'Contract' || before === undefined || after.revision === before.revision) return;
  const isStarted = before.phase !== 'Contract' || after.attempt > before.attempt;
  const asks = node.program.migrationContractApproval === 'manual';
  if (isStarted && asks && was.approval?.migrationId !== after.migrationId) {
    throw new Violation('Contract begins with an approval where its owner asks for one', after.migrationId);
  }
}

function requireNoCancel(intent: Intent | undefined, { migrationId, intentRevision }: MigrationState): void {
  const isCanceled = intent?.want === 'cancel' && intent.migrationId === migrationId;
  if (isCanceled && intent.revision > intentRevision) {
    throw new Violation('what an operator canceled does not fail', migrationId);
  }
}

function checkRanges(commit: SimCommit, was: Picture, is: Picture, pass: PassName): void {
  const [before, after] = [was.ranges[pass], is.ranges[pass]];
  if (after.length === 0) return;
  const isSame = before.length > 0 && before.every((row, at) => row.seq <= (after[at]?.seq ?? -1));
  requireDisjoint(after, pass);
  for (const [at, row] of after.entries()) {
    const old = before[at];
    if (!isSame || old === undefined || old.seq === row.seq) continue;
    if (cursorOf(row).compare(cursorOf(old)) < 0) throw new Violation('cursors only grow', `${pass} ${at}`);
    if (row.recordsRead < old.recordsRead || row.moved < old.moved) {
      throw new Violation('counts only grow', `${pass} ${at}`);
    }
    if (row.recordsRead !== row.moved + row.dropped + row.quarantined && pass === 'backfill') {
      throw new Violation('read is moved, dropped or in quarantine', `${pass} ${at}`);
    }
    requireMover(commit, was, is, old);
  }
  if (isSame && totalsOf(after).fraction < totalsOf(before).fraction) {
    throw new Violation('progress never falls', `${pass}`);
  }
}

/** What was cut off another has a number behind all others. */
function requireDisjoint(rows: readonly RangeRow[], pass: PassName): void {
  const slices = rows
    .map(({ begin, end }) => ({ begin: Buffer.from(begin, 'base64'), end: Buffer.from(end, 'base64') }))
    .toSorted((one, other) => one.begin.compare(other.begin));
  for (const [at, { end }] of slices.entries()) {
    const next = slices[at + 1];
    if (next !== undefined && end.compare(next.begin) > 0) {
      throw new Violation('ranges are disjoint', `${pass} ${at}`);
    }
  }
}

const cursorOf = ({ cursor }: RangeRow): Buffer => Buffer.from(cursor ?? '', 'base64');
