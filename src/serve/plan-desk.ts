import { planBasisOf, planKeyOf } from './config-key.ts';
import type { Group } from './group.ts';
import { PlanCache } from './plan-cache.ts';
import type { Reply } from './reply.ts';
import type { RequestBody } from './request-body.ts';

/** An answer, and whether it follows from its question and the group's configuration alone. */
interface Answered {
  readonly reply: Reply;
  readonly isPure: boolean;
}

/**
 * Gives equal questions equal bytes: what was answered is kept by the hash of the question, the group's
 * configuration and the live epoch, and ranks that ask at one time wait for one plan.
 */
export class PlanDesk {
  readonly #mostBytes: number;
  /** Of each group its own, so that none pushes out the answers of another. */
  readonly #caches = new Map<string, PlanCache<Reply>>();
  readonly #pending = new Map<string, Promise<Answered>>();

  /** @param mostBytes of the answers of a group */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  /** @param kind what beside the body changes the answer */
  async answer(group: Group, kind: string, body: RequestBody, make: () => Promise<Answered>): Promise<Reply> {
    const { name } = group;
    const basis = planBasisOf(group);
    const key = planKeyOf(name, basis, kind, body.parts);
    const known = this.#cacheOf(name).get(key);
    if (known !== undefined) return known;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return (await pending).reply;
    const made = make();
    this.#pending.set(key, made);
    try {
      const { reply, isPure } = await made;
      if (!isPure) return reply;
      const kept = { ...reply, basis };
      this.#cacheOf(name).set(key, kept, kept.content.length);
      return kept;
    } finally {
      this.#pending.delete(key);
    }
  }

  /** Forgets the answers of a group. */
  forget(name: string): void {
    this.#caches.delete(name);
  }

  #cacheOf(name: string): PlanCache<Reply> {
    const known = this.#caches.get(name);
    if (known !== undefined) return known;
    const cache = new PlanCache<Reply>(this.#mostBytes);
    this.#caches.set(name, cache);
    return cache;
  }
}
