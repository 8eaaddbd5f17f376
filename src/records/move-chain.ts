import type { Transform } from '../model/transform.ts';
import { drop } from '../model/transform.ts';
import { legSetups } from './load-transform.ts';
import type { MoveRecord } from './move-record.ts';
import { createMoveRecord } from './move-record.ts';
import type { RecordCodec } from './record-codec.ts';
import { createRecordCodec } from './record-codec.ts';
import type { SetupDefinition, TransformSetup } from './transform-setup.ts';

/**
 * How records of one stored definition become records of the target: in one leg, or through the definitions between
 * them. Between two legs a record is what it would have been in the database: the next leg cannot tell the difference.
 *
 * @param transforms of each leg, that to the target last
 */
export function createMoveChain(
  setup: TransformSetup,
  from: SetupDefinition,
  targetCodec: RecordCodec,
  transforms: readonly (Transform | undefined)[],
): MoveRecord {
  const [last, ...before] = legSetups(setup)
    .map((leg, at, legs) => {
      const source = at === 0 ? from : (legs[at - 1]?.target ?? from);
      const codec = at === legs.length - 1 ? targetCodec : createRecordCodec(leg.target.data);
      return { leg, codec, move: createMoveRecord(leg, source, codec, transforms[at]) };
    })
    .reverse();
  if (last === undefined) throw new Error('a setup has at least one leg');
  const earlier = before.reverse();
  if (earlier.length === 0) return last.move;
  return (stored, bytes) => {
    let decoded = stored;
    let raw = bytes;
    for (const { leg, codec, move } of earlier) {
      const moved = move(decoded, raw);
      if (moved === drop) return drop;
      raw = codec.encode(moved.record, leg.target.schemaId, moved.unknown);
      decoded = codec.decode(raw);
    }
    return last.move(decoded, raw);
  };
}
