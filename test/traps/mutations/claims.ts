import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

const movers = 'integration/many-movers.test.ts';
const claims = 'unit/migration/claims.test.ts';
const sessions = 'unit/migration/sessions.test.ts';
const split = 'unit/migration/split.test.ts';

const cutUnderChunk = by(
  movers,
  'a helper has its range cut under a chunk that is ready, throws that away, and moves each record once',
);

/** Who moves which records, where many do. */
export const claimMutations: readonly Mutation[] = [
  {
    mutation: 'a chunk does not compare the claim of its range',
    killer: by(
      'integration/ownership.test.ts',
      'a chunk in flight does not commit over a claim that another mover has taken',
    ),
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: 'if (!isMine || current.seq !== row.seq || !isSameFence)',
        replace: 'if (current.seq !== row.seq || !isSameFence)',
      },
    ],
  },
  {
    mutation: 'a chunk does not notice that its range was cut',
    killer: cutUnderChunk,
    replacements: [
      {
        file: 'src/migration/passes/mover.ts',
        find: "if (isBeyond(chunk, current)) return { type: 'cut', row: current };",
        replace: "if (isBeyond(chunk, row)) return { type: 'cut', row: current };",
      },
    ],
  },
  {
    mutation: 'a chunk of a helper does not look at the owner',
    killer: by(
      movers,
      'a helper commits nothing any more once an operator has released the lease under which it moves',
    ),
    replacements: [
      {
        file: 'src/migration/assist.ts',
        find: 'if (owner?.equals(row) === true) return;',
        replace: 'if (owner?.equals(row) !== undefined) return;',
      },
    ],
  },
  {
    mutation: 'a helper does not compare its way of moving with that of the leader',
    killer: by(movers, 'a helper with another transform than the leader claims nothing, and says so'),
    replacements: [
      {
        file: 'src/migration/assist.ts',
        find: 'if (termsOf(mine) !== state.terms) {',
        replace: 'if (termsOf(mine) === undefined) {',
      },
    ],
  },
  {
    mutation: 'the policy for bad records is no part of how a node moves',
    killer: by(movers, 'a helper with another policy than the leader claims nothing, and says so'),
    replacements: [
      {
        file: 'src/migration/terms.ts',
        find: '[transformHash(spec), spec.onPoison, spec.maxQuarantined]',
        replace: '[transformHash(spec), spec.maxQuarantined]',
      },
    ],
  },
  {
    mutation: 'the claim of a living session is taken',
    killer: by(movers, 'a claim of a living session is left to it by others'),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: 'return claim === null || claim.session === session || sessions.isOver(tx, claim.session);',
        replace: 'return claim === null || claim.session !== "" || sessions.isOver(tx, claim.session);',
      },
    ],
  },
  {
    mutation: 'the claim of a dead session is left to it',
    killer: by(claims, 'a process that claims takes what a dead session has claimed, and buries it'),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: 'return claim === null || claim.session === session || sessions.isOver(tx, claim.session);',
        replace: 'return claim === null || claim.session === session;',
      },
    ],
  },
  {
    mutation: 'of two who claim a range at once both get it',
    killer: by(claims, 'a process that claims never takes what another takes at the same time'),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: 'const row = await readRange(tx, keys, pass, number);\n      if (row === undefined ||',
        replace: 'const row = seen;\n      if (',
      },
    ],
  },
  {
    mutation: 'ranges of a migration that stands still are claimed',
    killer: by(claims, 'a process that claims begins nothing where the migration has failed'),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: "return state.status === 'Running' && !state.phaseCompleted;",
        replace: 'return !state.phaseCompleted;',
      },
    ],
  },
  {
    mutation: 'a claim is given back to nobody once the leader has changed',
    killer: by(claims, 'a claim that is given back is free, whoever leads by then'),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: '          // Whoever leads by now: a claim that nobody moves would be waited for.\n',
        replace: '          await held.lease.guard(tx);\n',
      },
    ],
  },
  {
    mutation: 'a claim is given back that is another one by then',
    killer: by(claims, 'a claim that is given back stays where it is another one by then'),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: 'if (row?.claim?.session !== session || row.claimSeq !== claimSeq) return;',
        replace: 'if (row?.claim?.session !== session || claimSeq < 0) return;',
      },
    ],
  },
  {
    mutation: 'a pause is answered while others have claims',
    killer: by(
      movers,
      'an operator who says pause is obeyed by all movers at their next chunk, and answered when none of them has a claim',
    ),
    replacements: [
      {
        file: 'src/migration/passes/others.ts',
        find: "if (until === 'whenTold') return living.some(Boolean) && isTold ? undefined : ('free' as const);",
        replace: "if (until === 'whenTold') return 'free' as const;",
      },
    ],
  },
  {
    mutation: 'a range is cut without regard to the cursor of its mover',
    killer: by(
      split,
      'ranges that are cut again and again cover the same keys, disjoint, with the same weight and what was done of it, and none is too small',
    ),
    replacements: [
      {
        file: 'src/migration/passes/split.ts',
        find: '  const begin = beginOf(row);\n',
        replace: "  const begin = Buffer.from(row.begin, 'base64');\n",
      },
    ],
  },
  {
    mutation: 'a range is cut within the next two chunks of its mover',
    killer: by(split, 'cuts no closer than two chunks to a mover that is slow'),
    replacements: [
      {
        file: 'src/migration/passes/split.ts',
        find: 'Math.max(part * leastRecords, 2 * chunk)',
        replace: 'Math.max(part * leastRecords, 0 * chunk)',
      },
    ],
  },
  {
    mutation: 'the second part of a range may have few records',
    killer: by(
      split,
      'ranges that are cut again and again are not cut where one part would have few records, of less than a megabyte',
    ),
    replacements: [
      {
        file: 'src/migration/passes/split.ts',
        find: 'if ((await behindSome(tx, cut, end, part * leastRecords)) !== undefined) return cut;',
        replace: 'return cut;',
      },
    ],
  },
  {
    mutation: 'a range is cut as often as somebody asks',
    killer: by(
      split,
      'ranges that are cut again and again are cut once per second, each part of them, by the time of the database',
    ),
    replacements: [
      {
        file: 'src/migration/passes/split.ts',
        find: 'version - row.splitVersion >= minIntervalVersions',
        replace: 'version - row.splitVersion >= 0',
      },
    ],
  },
  {
    mutation: 'a session ages while its watcher stands still',
    killer: by(sessions, 'a session is not over for time in which the watcher stood still itself'),
    replacements: [
      {
        file: 'src/migration/sessions.ts',
        find: 'Math.min(nowMs - seen.readAtMs, 2 * heartbeatMs)',
        replace: '(nowMs - seen.readAtMs)',
      },
    ],
  },
  {
    mutation: 'a session that was presumed over stays so, although it beats',
    killer: by(sessions, 'a session that is presumed over is so at once, and lives again with its next beat'),
    replacements: [
      {
        file: 'src/migration/sessions.ts',
        find: '(seen.n === undefined || seen.n === n)',
        replace: '(seen.n === undefined || seen.n === n || seen.unchangedMs > 1e9)',
      },
    ],
  },
  {
    mutation: 'a session begins its beats anew where its row was cleared',
    killer: by(
      sessions,
      'the row of a session does not come back with a beat once somebody has cleared it, and with the next claim under another number',
    ),
    replacements: [
      {
        file: 'src/migration/sessions.ts',
        find: 'write(tx, beats + 1)',
        replace: 'write(tx, 1)',
      },
    ],
  },
  {
    mutation: 'a claim does not wait for the end of the session before it',
    killer: by(
      sessions,
      'the row of a session is there for a claim that was made while the last of those who held it let go',
    ),
    replacements: [
      {
        file: 'src/migration/sessions.ts',
        find: '    await leaving;\n    isAnnounced = true;',
        replace: '    isAnnounced = true;',
      },
    ],
  },
  {
    mutation: 'a session is buried that has beaten since it was judged',
    killer: by(sessions, 'the row of a session of one that has beaten since it was taken for dead stays'),
    replacements: [
      {
        file: 'src/migration/sessions.ts',
        find: 'observations.get(session)?.n === row.n',
        replace: 'observations.get(session) !== undefined',
      },
    ],
  },
  {
    mutation: 'a silent leader keeps what it has claimed for as long again',
    killer: by(
      'unit/migration/lease-takeover.test.ts',
      'an owner who is displaced is named by its session where it was silent, and not where it was told to go',
    ),
    replacements: [
      {
        file: 'src/migration/foundationdb-lease.ts',
        find: 'const isSilent = takeover && request.displaces !== true;',
        replace: 'const isSilent = takeover && request.displaces === true;',
      },
    ],
  },
  {
    mutation: 'a claim of which nobody knows is kept by a session that lives on',
    killer: by(
      claims,
      'a claim that is given back is free in the end, although nobody knows how the claiming ended',
    ),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: '      if (!isUnsure) return;\n',
        replace: '      if (isUnsure) return;\n',
      },
    ],
  },
  {
    mutation: 'who died without a claim is never buried',
    killer: by(
      sessions,
      'the row of a session of one that died without a claim is cleared by whoever leads, with its beats',
    ),
    replacements: [
      {
        file: 'src/migration/sessions.ts',
        find: 'if (leaders > 0) await',
        replace: 'if (leaders < 0) await',
      },
    ],
  },
  {
    mutation: 'what is paused without an owner stays claimed',
    killer: by(
      movers,
      'an operator who says pause is answered where nobody leads, and takes away what a helper still has',
    ),
    replacements: [
      {
        file: 'src/migration/transition.ts',
        find: '  await freeClaims(tx, migration.model.keys);\n',
        replace: '  if (state.status === null) await freeClaims(tx, migration.model.keys);\n',
      },
    ],
  },
  {
    mutation: 'nobody is told of ranges that were given back',
    killer: by(movers, 'a helper gives its claims back when it closes, at once, and is no session any more'),
    replacements: [
      {
        file: 'src/migration/passes/claims.ts',
        find: '        runtime.hints.tell(model.id);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'who waits for ranges does not listen for hints',
    killer: by(
      'unit/cluster/work-hints.test.ts',
      'a hint that ranges are free makes who watches look again, without waiting for a change or a poll',
    ),
    replacements: [{ file: 'src/migration/watch.ts', find: 'onHint?.(resolve)', replace: 'undefined' }],
  },
];
