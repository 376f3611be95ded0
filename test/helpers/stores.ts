type Numbers = Float32Array | Int32Array | Uint8Array;

/** What is thrown where a thread dies. */
class Death extends Error {}

/**
 * Sees every store into shared memory of the code under test, plain or atomic, before it happens: so that a
 * thread can die there, or another one act. Views are replaced by proxies, and Atomics by functions that know
 * them; one test process at a time.
 */
export class Stores {
  readonly #views = new WeakMap<object, Numbers>();
  #before: ((store: number) => void) | undefined;
  #count = 0;

  constructor() {
    const atomics = Atomics as unknown as Record<string, (array: object, ...rest: number[]) => number>;
    for (const name of ['load', 'store', 'add', 'and', 'or', 'exchange', 'compareExchange']) {
      const original = atomics[name]!.bind(Atomics);
      atomics[name] = (array, ...rest) => {
        const view = this.#views.get(array);
        if (view !== undefined && name !== 'load') this.#see();
        return original(view ?? array, ...rest);
      };
    }
  }

  /** Runs `make` with constructors whose views of shared memory are watched. */
  watched<T>(make: () => T): T {
    const globals = globalThis as unknown as Record<string, object>;
    const originals = ['Float32Array', 'Int32Array', 'Uint8Array'].map(
      (name) => [name, globals[name]!] as const,
    );
    for (const [name, original] of originals) {
      globals[name] = new Proxy(original, {
        construct: (type, args) => {
          const view = Reflect.construct(type as never, args) as Numbers;
          return view.buffer instanceof SharedArrayBuffer ? this.#watch(view) : view;
        },
      });
    }
    try {
      return make();
    } finally {
      for (const [name, original] of originals) globals[name] = original;
    }
  }

  /**
   * Runs `work`, telling `before` the number of each store that is about to happen. Ends quietly where it
   * dies.
   */
  watch(before: (store: number) => void, work: () => void): void {
    this.#count = 0;
    this.#before = before;
    try {
      this.watched(work);
    } catch (error) {
      if (!(error instanceof Death)) throw error;
    } finally {
      this.#before = undefined;
    }
  }

  /** The thread dies: it stores nothing any more, not even on its way out. */
  die(): never {
    this.#before = () => this.die();
    throw new Death();
  }

  #see(): void {
    const before = this.#before;
    if (before === undefined) return;
    // What is done before a store is another thread's.
    this.#before = undefined;
    try {
      before(this.#count++);
    } finally {
      this.#before ??= before;
    }
  }

  #watch(view: Numbers): Numbers {
    const store = (index: number, value: number) => {
      this.#see();
      view[index] = value;
    };
    const methods: Record<string, unknown> = {
      set: (values: ArrayLike<number>, offset = 0) => {
        for (let i = 0; i < values.length; i++) store(offset + i, values[i]!);
      },
      fill: (value: number, start = 0, end = view.length) => {
        for (let i = start; i < end; i++) store(i, value);
      },
      subarray: (start: number, end: number) => this.#watch(view.subarray(start, end)),
    };
    const proxy = new Proxy(view, {
      get: (_, key) => {
        if (typeof key === 'string' && key in methods) return methods[key];
        const value: unknown = Reflect.get(view, key, view);
        return typeof value === 'function' ? value.bind(view) : value;
      },
      set: (_, key, value) => {
        store(Number(key), value);
        return true;
      },
    });
    this.#views.set(proxy, view);
    return proxy;
  }
}
