import type { Mutation } from '../patch.ts';
import { by } from '../patch.ts';

/** What operators see and do from outside: the command, and the store that it opens. */
export const commandMutations: readonly Mutation[] = [
  {
    mutation: 'a verification of what is published goes on by a definition that is not published any more',
    killer: by(
      'integration/verify-published.test.ts',
      'verifying what is published begins anew by another definition where that is published meanwhile',
    ),
    replacements: [
      {
        file: 'src/migration/verify-published.ts',
        find: 'if (fenceNow?.schemaEpoch !== fence.schemaEpoch) return undefined;',
        replace: '',
      },
    ],
  },
  {
    mutation: 'a damaged record hides the index entries behind its own from a verification',
    killer: by(
      'integration/verify-published.test.ts',
      'verifying what is published names records and entries that are wrong by their keys, and none of their values',
    ),
    replacements: [
      {
        file: 'src/records/index-agreement.ts',
        find: 'Math.min(sizeUpTo(first), maxRecordBytes) - first.length',
        replace: 'sizeUpTo(first) - first.length',
      },
    ],
  },
  {
    mutation: 'what is steered by the database alone leaves no trace in the audit',
    killer: by(
      'integration/stored-store.test.ts',
      'a store that knows its models from the database pauses, resumes and cancels what another process runs, and is in its audit',
    ),
    replacements: [
      {
        file: 'src/store/open-stored.ts',
        find: 'return { model: meant, keepsAudit: kept > 0 };',
        replace: 'return { model: meant, keepsAudit: kept < 0 };',
      },
    ],
  },
  {
    mutation: 'whoever only looks makes a database where there is none',
    killer: by(
      'unit/kv/open.test.ts',
      'opening a database makes nothing where that is not wished: a directory that is missing, empty or none of its own stays so',
    ),
    replacements: [
      {
        file: 'src/kv/embedded/open.ts',
        find: '  if (options.create === false) requireDirectory(directory);\n',
        replace: '',
      },
    ],
  },
  {
    mutation: 'what cannot be undone is done unasked where there is no terminal',
    killer: by(
      'unit/cli/program.test.ts',
      'what cannot be undone is refused where there is no terminal, unless it was answered before',
    ),
    replacements: [
      {
        file: 'src/cli/output.ts',
        find: '  if (isAnswered) return;',
        replace: '  if (isAnswered || io.stdin.isTTY !== true) return;',
      },
    ],
  },
];
