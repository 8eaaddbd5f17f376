import { createRequire } from 'node:module';
import { StorageException } from '../../errors.ts';
import type { FoundationDBBinding } from './binding.ts';
import { codeOf } from './errors.ts';

/** How the package is found; tests bring their own. */
export interface BindingSource {
  /** @throws whatever loading throws */
  load(): unknown;
  /** Native files of the package that this process has loaded, whoever loaded them. */
  loadedFiles(): readonly string[];
}

const require = createRequire(import.meta.url);

const installedBinding: BindingSource = {
  load: () => require('foundationdb') as unknown,
  loadedFiles: () => Object.keys(require.cache).filter((path) => /foundationdb.*\.node$/.test(path)),
};

/** What the prebuilt client of the package was made against, and then what older client libraries take (2203 else). */
const apiVersions: readonly (readonly [version: number, headerVersion?: number])[] = [[720], [710, 710]];

/** API version not supported by the client library. */
const apiVersionNotSupported = 2203;
/** The API version was set before, by the host. */
const apiVersionAlreadySet = 2201;

let ready: FoundationDBBinding | undefined;

/**
 * The package `foundationdb`, loaded at its first use and once per process: it is native, and a second copy breaks the
 * first. An API version that the host has set is respected.
 *
 * @throws StorageException DRIVER_MISSING, DRIVER_FAILED, DRIVER_DUPLICATE
 */
export function loadBinding(source: BindingSource = installedBinding): FoundationDBBinding {
  if (source === installedBinding && ready !== undefined) return ready;
  const binding = load(source);
  refuseDuplicates(source);
  selectAPIVersion(binding);
  if (source === installedBinding) ready = binding;
  return binding;
}

function load(source: BindingSource): FoundationDBBinding {
  let loaded: unknown;
  try {
    loaded = source.load();
  } catch (cause) {
    const code: unknown = cause instanceof Error ? Reflect.get(cause, 'code') : undefined;
    if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') {
      throw new StorageException(
        'DRIVER_MISSING',
        "The package 'foundationdb' is not installed: npm install foundationdb@2.",
        { cause },
      );
    }
    throw failed(
      "The package 'foundationdb' cannot be loaded; the client library libfdb_c of FoundationDB has to be installed too",
      cause,
    );
  }
  if (isBinding(loaded)) return loaded;
  throw failed("The package 'foundationdb' is not of version 2", undefined);
}

function isBinding(value: unknown): value is FoundationDBBinding {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'setAPIVersion') === 'function' &&
    typeof Reflect.get(value, 'open') === 'function'
  );
}

function refuseDuplicates(source: BindingSource): void {
  const files = [...new Set(source.loadedFiles())];
  if (files.length < 2) return;
  throw new StorageException(
    'DRIVER_DUPLICATE',
    `This process has loaded the package 'foundationdb' more than once: ${files.join(' and ')}.`,
    { details: { files } },
  );
}

/** By trying: which one the installed client library takes is told by nothing else. */
function selectAPIVersion(binding: FoundationDBBinding): void {
  let refusal: unknown;
  for (const [version, headerVersion] of apiVersions) {
    try {
      if (headerVersion === undefined) binding.setAPIVersion(version);
      else binding.setAPIVersion(version, headerVersion);
      return;
    } catch (error) {
      if (isSetByHost(error)) return;
      if (codeOf(error) !== apiVersionNotSupported) {
        throw failed('The FoundationDB client refuses its API version', error);
      }
      refusal = error;
    }
  }
  throw failed('The FoundationDB client library is older than 7.1', refusal);
}

function isSetByHost(error: unknown): boolean {
  if (codeOf(error) === apiVersionAlreadySet) return true;
  return error instanceof Error && error.message.includes('already initialized with API version');
}

function failed(what: string, cause: unknown): StorageException {
  const text = cause instanceof Error ? `: ${cause.message}` : '';
  return new StorageException('DRIVER_FAILED', `${what}${text}.`, { cause });
}
