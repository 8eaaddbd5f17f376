import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ValidateFunction } from 'ajv/dist/2020.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { repositoryTop } from '../../.scripts/architecture.ts';

/** The published schemas, and nothing besides them allowed: a property that they do not name is found. */
const schema = JSON.parse(
  readFileSync(join(repositoryTop, 'docs/subjects.v1.schema.json'), 'utf8'),
  (_, value: unknown) => (hasProperties(value) ? { additionalProperties: false, ...value } : value),
) as { readonly $id: string };

function hasProperties(value: unknown): value is object {
  return typeof value === 'object' && value !== null && 'properties' in value && 'required' in value;
}

const ajv = new Ajv2020({ strict: true, allErrors: true, strictRequired: false });
ajv.addSchema(schema);

const validators = new Map<string, ValidateFunction>();

function validatorOf(name: string): ValidateFunction {
  const known = validators.get(name) ?? ajv.getSchema(`${schema.$id}#/$defs/${name}`);
  if (known === undefined) throw new Error(`there is no schema ${name}`);
  validators.set(name, known);
  return known;
}

/** What is wrong with a message by the schema of its subject; `reply` and `request` stand for those of a control. */
export function malformed(subject: string, payload: Uint8Array): string | undefined {
  const text = Buffer.from(payload).toString('utf8');
  const validate = validatorOf(nameOf(subject));
  if (validate(JSON.parse(text))) return undefined;
  return `${subject}: ${ajv.errorsText(validate.errors)} in ${text}`;
}

/** @throws Error */
export function expectWellFormed(subject: string, payload: Uint8Array): void {
  const problem = malformed(subject, payload);
  if (problem !== undefined) throw new Error(problem);
}

function nameOf(subject: string): string {
  if (subject === 'reply') return 'controlReply';
  if (subject === 'request') return 'controlRequest';
  if (subject.endsWith('.node')) return 'nodeMessage';
  if (subject.endsWith('.work')) return 'workMessage';
  return `${subject.split('.').at(-2) ?? ''}Message`;
}
