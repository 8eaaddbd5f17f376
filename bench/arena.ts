import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ChildReport, ChildTask, Side } from './child.ts';
import type { PlaceSizes } from './models.ts';
import type { ChildOptions } from './run-child.ts';
import { runChild } from './run-child.ts';

type Run = ChildOptions & Pick<ChildTask, 'transform' | 'isSampled' | 'isBare'>;

/** A directory with that many records of version 1.0, and what children do on fresh copies of it. */
export class Arena {
  readonly records: number;
  readonly sizes: PlaceSizes;
  readonly #file: string;
  readonly #parent: string;
  #copies = 0;

  private constructor(file: string, parent: string, records: number, sizes: PlaceSizes) {
    this.#file = file;
    this.#parent = parent;
    this.records = records;
    this.sizes = sizes;
  }

  /** @param compiled where the compiled bench is */
  static async create(
    compiled: string,
    scratch: string,
    records: number,
    sizes: PlaceSizes = 'small',
  ): Promise<Arena> {
    const parent = join(scratch, `${sizes}-${records}`);
    mkdirSync(parent);
    const arena = new Arena(join(compiled, 'child.js'), parent, records, sizes);
    const task: ChildTask = { kind: 'fill', directory: arena.#original, records, sizes };
    await runChild(arena.#file, task);
    return arena;
  }

  get #original(): string {
    return join(this.#parent, 'original');
  }

  /** Moves the records of a copy, and checks them unless it is bare. */
  run(
    kind: Side,
    { transform = 'cheap', isSampled = false, isBare = false, ...options }: Run = {},
  ): Promise<ChildReport> {
    const { records, sizes } = this;
    return this.onCopy((directory) => {
      const task: ChildTask = { kind, directory, records, sizes, transform, isSampled, isBare };
      return runChild<ChildReport>(this.#file, task, options);
    });
  }

  async onCopy<T>(work: (directory: string) => Promise<T>): Promise<T> {
    const directory = join(this.#parent, `copy-${(this.#copies += 1)}`);
    cpSync(this.#original, directory, { recursive: true });
    try {
      return await work(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  remove(): void {
    rmSync(this.#parent, { recursive: true });
  }
}
