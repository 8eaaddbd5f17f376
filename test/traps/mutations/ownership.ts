import type { Mutation } from '../patch.ts';
import { by, simulated } from '../patch.ts';

/** Who may migrate a model, until when, and how the next one learns of it. */
export const ownershipMutations: readonly Mutation[] = [
  {
    mutation: 'the guard does not compare the owner',
    killer: by(
      'conformance/lease.test.ts',
      'migration lease: the default lets its owner write, and nobody who owned it before',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: '        if (owner?.equals(row) !== true) throw leaseLost(epoch);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'the guard reads the owner without a conflict',
    killer: by(
      'conformance/lease.test.ts',
      'migration lease: the default lets no transaction commit that began under an earlier owner',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'async guard(tx) {\n        const owner = await tx.get(keys.owner);',
        replace: 'async guard(tx) {\n        const owner = await tx.get(keys.owner, { snapshot: true });',
      },
    ],
  },
  {
    mutation: 'a heartbeat writes the owner key',
    killer: by(
      'integration/traps-ownership.test.ts',
      'trap 9: a heartbeat in the middle of a chunk costs the chunk nothing',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'tx.set(keys.beat, beatFormat.encode({ epoch, n,',
        replace: 'tx.set(keys.owner, row);\n          tx.set(keys.beat, beatFormat.encode({ epoch, n,',
      },
    ],
  },
  {
    mutation: 'a heartbeat does not look whose lease it is',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner learns from its next beat that the lease is another one’s',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: '          if (owner?.equals(row) !== true) return false;\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a lease is taken over after one heartbeat without a beat',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner whose time stands still is succeeded once 1000 ms were watched, where it has 1000 and the contender 1000',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'return unchangedMs >= Math.max(owner.ttlMs, timeoutMs);',
        replace: 'return unchangedMs >= heartbeatMs;',
      },
    ],
  },
  {
    mutation: 'a contender waits its own timeout, whatever the owner has',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner whose time stands still is succeeded once 3000 ms were watched, where it has 3000 and the contender 1000',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'Math.max(owner.ttlMs, timeoutMs);',
        replace: 'timeoutMs;',
      },
    ],
  },
  {
    mutation: 'the time in which a contender was frozen counts as watched',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner whose time stands still is not succeeded for time in which the contender stood still itself',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'Math.min(nowMs - seen.readAtMs, 2 * heartbeatMs)',
        replace: '(nowMs - seen.readAtMs)',
      },
    ],
  },
  {
    mutation: 'an owner counts its time from the end of a beat',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner counts its time from the beginning of its last beat, however long that took',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: "{ type: 'renewed', renewedAtMs }",
        replace: "{ type: 'renewed', renewedAtMs: clock.monotonicMs() }",
      },
    ],
  },
  {
    mutation: 'one failed heartbeat is a lost lease',
    killer: by('unit/machines/lease.test.ts', 'a lease is not lost by one beat that fails'),
    replacements: [
      { file: 'machines/lease.ts', find: "onError: 'waiting'", replace: "onError: '#lease.lost'" },
    ],
  },
  {
    mutation: 'a release leaves the token in the owner key',
    killer: by(
      'conformance/lease.test.ts',
      'migration lease: the default can be explained while it is held and afterwards',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'vacated(ownerFormat.parse(owner))',
        replace: 'ownerFormat.parse(owner)',
      },
    ],
  },
  {
    mutation: 'a release forgets the epoch',
    killer: simulated(10),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'vacated(ownerFormat.parse(owner))',
        replace: 'vacated(ownerFormat.parse(owner), 0)',
      },
    ],
  },
  {
    mutation: 'a release by force keeps the epoch',
    killer: by(
      'integration/ownership.test.ts',
      'a lease that an operator releases is acquired anew by the same process, which goes on where the last commit stands',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'vacated(owner, owner.epoch + 1)',
        replace: 'vacated(owner)',
      },
    ],
  },
  {
    mutation: 'a release by force leaves the owner in place',
    killer: by(
      'conformance/lease.test.ts',
      'migration lease: the default ends at once for an owner from whom an operator takes it',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: '      tx.set(keys.owner, ownerFormat.encode(vacated(owner, owner.epoch + 1)));\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'an acquisition does not know its token again after 1021',
    killer: by(
      'conformance/lease.test.ts',
      'migration lease: the default is held once although the answer to its commit was lost (unknownApplied)',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'if (owner?.token === token && ownerBytes !== undefined) {',
        replace: 'if (owner?.token === token && ownerBytes === undefined) {',
      },
    ],
  },
  {
    mutation: 'an acquisition that is given up after 1021 keeps the lease',
    killer: by(
      'integration/review-lease.test.ts',
      'a lease is not kept by an attempt that is given up after the answer to its commit was lost',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'if (mayBeOurs) await',
        replace: 'if (!mayBeOurs) await',
      },
    ],
  },
  {
    mutation: 'an epoch is given twice',
    killer: simulated(20),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'epoch: (previous?.epoch ?? 0) + 1,',
        replace: 'epoch: previous?.epoch ?? 1,',
      },
    ],
  },
  {
    mutation: 'a migration that stands still keeps its lease',
    killer: by('integration/operators-halted.test.ts', 'a migration that stands still holds no lease'),
    replacements: [
      { file: 'src/migration/effects.ts', find: "      result.type === 'halted' ||\n", replace: '' },
    ],
  },
  {
    mutation: 'a start that a lost lease ended counts as a failed attempt',
    killer: by(
      'integration/migration-retry.test.ts',
      'maxAttempts takes a start back that a lost lease ended',
    ),
    replacements: [
      {
        file: 'src/migration/acquire.ts',
        find: 'isStartTakenBack ? Math.max(0, existing.attempt - 1) :',
        replace: 'isStartTakenBack ? existing.attempt :',
      },
    ],
  },
  {
    mutation: 'a completed phase is run again by the next owner',
    killer: by(
      'integration/migration-restart.test.ts',
      'a process that dies right behind "Expand PhaseCompleted" is succeeded by one that goes on there',
    ),
    replacements: [
      {
        file: 'src/migration/effects.ts',
        find: 'phaseCompleted ? phaseAfter(phase) : phase }',
        replace: 'phaseCompleted && phase === undefined ? phaseAfter(phase) : phase }',
      },
    ],
  },
  {
    mutation: 'a forced release does not know itself again after 1021',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner is named to the operator who takes the lease, although the answer to that commit was lost',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'if (!tx.afterUnknownResult) displaced = undefined;',
        replace: 'displaced = undefined;',
      },
    ],
  },
  {
    mutation: 'a refused lease is audited again after 1021',
    killer: by(
      'integration/review-close.test.ts',
      'a refused lease is kept once in the audit although the answer to its commit was lost',
    ),
    replacements: [
      {
        file: 'src/migration/effects.ts',
        find: 'if (tx.afterUnknownResult && (await hasAuditEvent',
        replace: 'if (!tx.afterUnknownResult && (await hasAuditEvent',
      },
    ],
  },
];
