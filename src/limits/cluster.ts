import type { Limit } from './limit.ts';

/** Of the bus, and of what comes and goes over it. */
export const clusterLimits = {
  controlBytes: {
    value: 16_000,
    unit: 'bytes',
    source: 'of a control request: a reason of 1,000 characters, whatever they are, four times over',
    beyond: 'refused: `CONTROL_TOO_LARGE`',
  },
  controlsAtOnce: {
    value: 32,
    unit: 'tasks',
    source: 'control requests that one store carries out side by side: more than people send',
    beyond: 'refused: `CONTROL_BUSY`',
  },
  controlMs: {
    value: 5_000,
    unit: 'ms',
    source: 'to carry out a control request: what comes about later would surprise whoever gave it up',
    beyond: 'given up: `CONTROL_FAILED`',
  },
  operatorIdLength: {
    value: 128,
    unit: 'characters',
    source: 'of a `requestId` and of `by`: a UUID, a mail address or a host name fit easily',
    beyond: 'refused: `CONTROL_INVALID`, `OPTION_INVALID`',
  },
  followedSubjects: {
    value: 10_000,
    unit: 'entries',
    source: 'subjects times sessions of which a follower remembers the number of the last message: some 2 MB',
    beyond: 'the longest silent one is forgotten: a gap in it does not show',
  },
  keptAuditMessages: {
    value: 256,
    unit: 'events',
    source: 'of a store, while its bus is away: a migration has about ten, a bad day some hundreds',
    beyond: 'the oldest is dropped and counted; the numbers show a gap',
  },
  namesakes: {
    value: 16,
    unit: 'entries',
    source: 'other databases whose stores have the same name on the bus: one is a mistake already',
    beyond: 'not remembered; requests that name no database are refused all the same',
  },
  pendingBytes: {
    value: 8_000_000,
    unit: 'bytes',
    source:
      'published and not yet taken by the server, which may have stopped reading: seconds of the busiest migration',
    beyond: 'the message is dropped, and counted',
  },
  drainMs: {
    value: 1_000,
    unit: 'ms',
    source: 'for the last words of a bus that is closed: a server that reads takes them in a millisecond',
    beyond: 'closed all the same; what was not taken is lost',
  },
} as const satisfies Readonly<Record<string, Limit>>;
