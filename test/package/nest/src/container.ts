/** As much of a NestJS container as the decorators need: constructor parameters are injected by their types. */
type Class<T = object> = new (...parameters: never[]) => T;

const parameterTypes = new WeakMap<object, readonly Class[]>();

// The compiler emits calls of Reflect.metadata, which the package reflect-metadata defines in a real application.
Object.assign(Reflect, {
  metadata: (key: string, value: readonly Class[]) => (target: object) => {
    if (key === 'design:paramtypes') parameterTypes.set(target, value);
  },
});

export function Injectable(): ClassDecorator {
  return () => undefined;
}

export class Container {
  readonly #instances = new Map<Class, object>();

  get<T extends object>(type: Class<T>): T {
    const known = this.#instances.get(type);
    if (known !== undefined) return known as T;
    const parameters = (parameterTypes.get(type) ?? []).map((parameter) => this.get(parameter));
    const instance = new type(...(parameters as never[]));
    this.#instances.set(type, instance);
    return instance;
  }

  async each(hook: 'onModuleInit' | 'onApplicationShutdown'): Promise<void> {
    for (const instance of this.#instances.values()) {
      const method: unknown = Reflect.get(instance, hook);
      if (typeof method === 'function') await method.call(instance);
    }
  }
}
