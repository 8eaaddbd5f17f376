import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { repositoryTop } from '../../.scripts/architecture.ts';

export const compose = readFileSync(join(repositoryTop, 'docker-compose.yml'), 'utf8');

/** Services by name: the lines below each. */
export const services: ReadonlyMap<string, string> = new Map(
  (/^services:\n((?: .*\n|\n)+)/m.exec(compose)?.[1] ?? '')
    .split(/^(?= {2}\w)/m)
    .map((text) => [/^ {2}([\w-]+):/.exec(text)?.[1] ?? '', text]),
);

/** The lines below one of a service's keys; empty where it has none. */
export const linesOf = (service: string, key: string): string =>
  new RegExp(`^ {4}${key}:\\n((?: {6}.*\\n)+)`, 'm').exec(services.get(service) ?? '')?.[1] ?? '';

/** The entries of one of its lists. */
export const listOf = (service: string, key: string): readonly string[] =>
  [...linesOf(service, key).matchAll(/^ {6}- (\S+)$/gm)].map(([, entry = '']) => entry);

export const natsServices = [...services.keys()].filter((name) => name.startsWith('nats'));

/** What follows `--<name>=` in the command of a service. */
export const flagOf = (service: string, name: string): string | undefined =>
  listOf(service, 'command')
    .find((flag) => flag.startsWith(`--${name}=`))
    ?.slice(name.length + 3);
