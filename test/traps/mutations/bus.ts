import type { Mutation } from '../patch.ts';
import { by, simulated } from '../patch.ts';

/** Events out, controls in. */
export const busMutations: readonly Mutation[] = [
  {
    mutation: 'a control request is carried out as often as it comes',
    killer: by(
      'integration/control.test.ts',
      'a control request is carried out once under one id, and answered the same for good',
    ),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: 'const known = requestId === undefined ? undefined : await readAnswer(tx, keys, requestId);',
        replace: 'const known = undefined as AnsweredRequest | undefined;',
      },
    ],
  },
  {
    mutation: 'the answer to a control request is kept behind the transaction that carries it out',
    killer: simulated(70),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: '      if (requestId !== undefined) await keepAnswer(tx, keys, requestId, answer);\n',
        replace: '',
      },
      {
        file: 'src/migration/operators.ts',
        find: '  const answer = await runtime.database.transact(body, { signal });\n',
        replace:
          '  const answer = await runtime.database.transact(body, { signal });\n' +
          '  if (requestId !== undefined && "revision" in answer) {\n' +
          '    await runtime.database.transact((tx) => keepAnswer(tx, keys, requestId, answer));\n' +
          '  }\n',
      },
    ],
  },
  {
    mutation: 'an id that was used for another request is answered with what that one did',
    killer: by('integration/control.test.ts', 'a control request of an id that was another one is refused'),
    replacements: [
      {
        file: 'src/migration/operators.ts',
        find: "return known.want === want ? known : { accepted: false, code: 'REQUEST_ID_REUSED' };",
        replace: 'return known;',
      },
    ],
  },
  {
    mutation: 'a control request that names no database is carried out beside namesakes',
    killer: by(
      'unit/cluster/control-service.test.ts',
      'refuses what names no database where there are several, and carries out what names its own',
    ),
    replacements: [
      {
        file: 'src/cluster/control-service.ts',
        find: 'if (request.databaseId === undefined) refuseIfAmbiguous(options);\n      else if (request',
        replace: 'if (request.databaseId !== undefined && request',
      },
    ],
  },
  {
    mutation: 'a node that closes its store refuses control requests for good',
    killer: simulated(80),
    replacements: [
      {
        file: 'src/cluster/control-service.ts',
        find: "    if (error instanceof GodwitException && error.code === 'STORE_CLOSED') throw closing(error);\n",
        replace: '',
      },
    ],
  },
  {
    mutation: 'a follower goes back to a status that is older',
    killer: by(
      'integration/follow.test.ts',
      'followMigrations, of what is published leaves out a status that is older than one before, of whichever node',
    ),
    replacements: [
      {
        file: 'src/remote/follow-migrations.ts',
        find: 'if (version < (versions.get(modelId) ?? 0)) return false;',
        replace: 'void versions;',
      },
    ],
  },
  {
    mutation: 'messages of a session are numbered across its subjects',
    killer: by(
      'integration/store-events.test.ts',
      'the bus carries the same events as JSON, under subjects of their type and model, each counted by itself',
    ),
    replacements: [
      {
        file: 'src/migration/event-messages.ts',
        find: '{ v: 1, ...source, ...event, seq };',
        replace: '{ v: 1, ...source, ...event };',
      },
    ],
  },
  {
    mutation: 'the position of an audit event is that of what its transaction has read',
    killer: simulated(5),
    replacements: [
      {
        file: 'src/migration/events.ts',
        find: 'const stamp = tx.getVersionstamp();',
        replace:
          'const stamp = tx.getReadVersion().then((version) => {\n' +
          '        const bytes = Buffer.alloc(10);\n' +
          '        bytes.writeBigUInt64BE(version);\n' +
          '        return bytes;\n' +
          '      });',
      },
    ],
  },
  {
    mutation: 'all audit events of a commit have one position',
    killer: simulated(5),
    replacements: [
      {
        file: 'src/migration/events.ts',
        find: '(bytes) => auditPosition(bytes, ordinal),',
        replace: '(bytes) => auditPosition(bytes, Math.min(ordinal, 0)),',
      },
    ],
  },
  {
    mutation: 'what is audited is not told to those who listen',
    killer: simulated(5),
    replacements: [
      {
        file: 'src/migration/events.ts',
        find: '        told = told.then(tell);\n',
        replace: '        if (event.type !== "PhaseStarted") told = told.then(tell);\n',
      },
    ],
  },
  {
    mutation: 'that a lease was given back is not told',
    killer: simulated(130),
    replacements: [
      {
        file: 'src/migration/effects.ts',
        find: '  if (held !== undefined) runtime.events.changed(model);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a step of a chain of versions tells of its own model alone',
    killer: by(
      'integration/version-chains.test.ts',
      'a chain of versions tells of the way that is left as long as it is between two steps',
    ),
    replacements: [
      {
        file: 'src/store/core.ts',
        find: '    readModel: ({ id, keys: own }) =>\n',
        replace: '    readModel: (model) =>\n',
      },
      {
        file: 'src/store/core.ts',
        find: 'await readStatusIn(tx, runtime, modelBy(id)),\n        metrics: await readMetrics(tx, own),',
        replace:
          'await readStatusIn(tx, runtime, model),\n        metrics: await readMetrics(tx, model.keys),',
      },
    ],
  },
];
