import { createRequire } from 'node:module';
import { dirname, sep } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { StorageException } from '../../errors.ts';
import type { FoundationDBBinding } from './binding.ts';
import { codeOf } from './errors.ts';

/** How the package is found; tests bring their own. */
export interface BindingSource {
  /** @throws whatever loading throws */
  load(): unknown;
  /** Where `load` would find the package; undefined where that cannot be told. */
  find(): string | undefined;
  /** Native files of the package that this process has loaded, whoever loaded them. */
  loadedFiles(): readonly string[];
  readonly isMainThread: boolean;
}

const require = createRequire(import.meta.url);

/** In the package's own directory: a directory above it may have its name too. */
const nativeFile = /[\\/]node_modules[\\/]foundationdb[\\/](?!.*[\\/]node_modules[\\/]).*\.node$/;

const installedBinding: BindingSource = {
  load: () => require('foundationdb') as unknown,
  find() {
    try {
      return dirname(require.resolve('foundationdb/package.json'));
    } catch {
      return undefined;
    }
  },
  loadedFiles: () => Object.keys(require.cache).filter((path) => nativeFile.test(path)),
  isMainThread,
};

/** What the prebuilt client of the package was made against, and then what older client libraries take (2203 else). */
const apiVersions: readonly (readonly [version: number, headerVersion?: number])[] = [[720], [710, 710]];

/** API version not supported by the client library. */
const apiVersionNotSupported = 2203;
/** The API version was set before, by the host. */
const apiVersionAlreadySet = 2201;

const ready = new WeakMap<BindingSource, FoundationDBBinding>();

/**
 * The package `foundationdb`, loaded at its first use and once per process: it is native, and a second copy breaks the
 * first. An API version that the host has set is respected.
 *
 * @throws StorageException DRIVER_MISSING, DRIVER_LIBRARY_MISSING, DRIVER_FAILED, DRIVER_DUPLICATE, DRIVER_WRONG_THREAD
 */
export function loadBinding(source: BindingSource = installedBinding): FoundationDBBinding {
  const loaded = ready.get(source);
  if (loaded !== undefined) return loaded;
  refuseOtherThreads(source);
  // Before loading too: the copy that is loaded and works must go on working.
  refuseSecondCopy(source);
  const binding = load(source);
  refuseDuplicates(source.loadedFiles());
  selectAPIVersion(binding);
  ready.set(source, binding);
  return binding;
}

/** In a second thread it fails at once, and breaks what the first one has. */
function refuseOtherThreads(source: BindingSource): void {
  if (source.isMainThread) return;
  throw new StorageException(
    'DRIVER_WRONG_THREAD',
    "The package 'foundationdb' works on the main thread of a process only: open the store there.",
  );
}

function load(source: BindingSource): FoundationDBBinding {
  let loaded: unknown;
  try {
    loaded = source.load();
  } catch (cause) {
    throw loadingError(cause);
  }
  if (isBinding(loaded)) return loaded;
  throw failed("The package 'foundationdb' is not of version 2", undefined);
}

function loadingError(cause: unknown): StorageException {
  const message = cause instanceof Error ? cause.message : '';
  const code: unknown = cause instanceof Error ? Reflect.get(cause, 'code') : undefined;
  const isNotFound = code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND';
  // Not a package that it needs itself.
  if (isNotFound && /^Cannot find (?:module|package) 'foundationdb'/.test(message)) {
    return new StorageException(
      'DRIVER_MISSING',
      "The package 'foundationdb' is not installed: npm install foundationdb@2.",
      { cause },
    );
  }
  if (code === 'ERR_DLOPEN_FAILED' && message.includes('fdb_c')) {
    return new StorageException(
      'DRIVER_LIBRARY_MISSING',
      `FoundationDB's client library libfdb_c is not installed, or not where the loader looks for it: ${message}.`,
      { cause },
    );
  }
  return failed("The package 'foundationdb' cannot be loaded", cause);
}

function isBinding(value: unknown): value is FoundationDBBinding {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'setAPIVersion') === 'function' &&
    typeof Reflect.get(value, 'open') === 'function'
  );
}

function refuseSecondCopy(source: BindingSource): void {
  const own = source.find();
  if (own === undefined) return;
  const others = source.loadedFiles().filter((file) => !file.startsWith(own + sep));
  if (others.length > 0) refuseDuplicates([...others, own]);
}

function refuseDuplicates(paths: readonly string[]): void {
  const files = [...new Set(paths)];
  if (files.length < 2) return;
  throw new StorageException(
    'DRIVER_DUPLICATE',
    `This process would have more than one copy of the package 'foundationdb': ${files.join(' and ')}.`,
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
