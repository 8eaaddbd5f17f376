import { instantFromMs } from '../ports/instant.ts';
import type { TypeData } from './data.ts';
import type { Property, TypeSpec } from './property.ts';
import { enumCheck, scalarCheck } from './validate-scalar.ts';

/** Types that may have a default: those whose values a definition can hold as they are. */
type DefaultableType = Exclude<
  TypeData,
  { readonly kind: 'bytes' | 'list' | 'set' | 'map' | 'union' | 'embedded' | 'reference' }
>;

export function defaultableType(type: TypeSpec): DefaultableType | undefined {
  switch (type.kind) {
    case 'bytes':
    case 'list':
    case 'set':
    case 'map':
    case 'union':
    case 'embedded':
    case 'reference':
      return undefined;
    default:
      return type;
  }
}

/** What is wrong with a default, to be read behind its name; undefined when nothing is. */
export function defaultProblem(type: DefaultableType, given: Property['default']): string | undefined {
  const check = type.kind === 'enum' ? enumCheck(type, false) : scalarCheck(type);
  const [violation] = check(valueOf(type, given), 0);
  return violation?.message;
}

function valueOf({ kind }: DefaultableType, given: Property['default']): unknown {
  if (kind === 'int64') return typeof given === 'string' && /^-?\d+$/.test(given) ? BigInt(given) : given;
  if (kind === 'timestamp') return typeof given === 'number' ? instantFromMs(given) : given;
  return given;
}
