import { EplbError, EplbRangeError } from '../core/errors.ts';
import type { ExpertMapping } from '../index.ts';
import { hexSha256 } from './mapping-record.ts';

/** Mappings of so many epochs are kept, for loads that are reported late. */
const MOST_EPOCHS = 8;
/** So many answered plans may be named by their digest alone. */
const MOST_ANSWERED = 32;

/** A mapping with its bytes and their digest. */
export interface Held {
  readonly mapping: ExpertMapping;
  readonly bytes: Uint8Array;
  readonly digest: string;
}

export function held(mapping: ExpertMapping): Held {
  const bytes = mapping.toBytes();
  return { mapping, bytes, digest: hexSha256(bytes) };
}

/** What an engine says of an epoch. */
export interface EpochReport {
  readonly epoch: number | undefined;
  /** What was live in that epoch: a plan's digest, or the mapping itself. */
  readonly digest?: string | undefined;
  readonly mapping?: ExpertMapping | undefined;
}

/** A plan that was answered. */
interface AnsweredPlan {
  readonly held: Held;
  /** The epoch that was live when it was made from its mapping; undefined for one made from any other. */
  readonly epoch: number | undefined;
}

/** Which mapping is live, which were, and which were answered and may be next. */
export class LiveEpochs {
  #epoch = 0;
  #live: Held;
  /** Of the last epochs. */
  readonly #epochs = new Map<number, ExpertMapping>();
  /** Plans that were answered, by digest, with the epoch that they were planned from; without their bytes. */
  readonly #answered = new Map<string, Omit<AnsweredPlan, 'held'> & { readonly mapping: ExpertMapping }>();

  constructor(first: ExpertMapping) {
    this.#live = held(first);
    this.#epochs.set(0, first);
  }

  get epoch(): number {
    return this.#epoch;
  }

  get live(): Held {
    return this.#live;
  }

  /** The mapping of one of the last epochs; undefined when it is not known any more. */
  mappingAt(epoch: number): ExpertMapping | undefined {
    return this.#epochs.get(epoch);
  }

  /** The plan that was answered with a digest. */
  answered(digest: string): AnsweredPlan | undefined {
    const plan = this.#answered.get(digest);
    if (plan === undefined) return undefined;
    const { mapping, epoch } = plan;
    return { held: { mapping, bytes: mapping.toBytes(), digest }, epoch };
  }

  /** Remembers a plan that was answered. */
  remember({ mapping, digest }: Pick<Held, 'mapping' | 'digest'>, epoch: number | undefined): void {
    // One from the live mapping is not forgotten for one that is not.
    if (epoch === undefined && this.#answered.get(digest)?.epoch === this.#epoch) return;
    this.#answered.delete(digest);
    this.#answered.set(digest, { mapping, epoch });
    const [oldest] = this.#answered.keys();
    if (this.#answered.size > MOST_ANSWERED) this.#answered.delete(oldest!);
  }

  /**
   * The mapping that a report says went live; undefined when it is live already.
   *
   * @throws EplbError `EPLB_CONFLICT`, `EPLB_STALE`, EplbRangeError `EPLB_MAPPING`
   */
  nextOf({ epoch = this.#epoch, digest, mapping }: EpochReport): Held | undefined {
    const given = mapping && held(mapping);
    if (digest !== undefined && given !== undefined && digest !== given.digest) {
      throw new EplbRangeError('EPLB_MAPPING', `loads: physicalToLogical has the digest ${given.digest}`);
    }
    const named = digest ?? given?.digest;
    if (epoch === this.#epoch) {
      if (named === undefined || named === this.#live.digest) return undefined;
      const message = `loads: epoch ${epoch} is mapping ${this.#live.digest}; say epoch ${epoch + 1}`;
      throw new EplbError('EPLB_CONFLICT', `${message} if another one went live`);
    }
    if (epoch < this.#epoch) return undefined;
    const plan = named === undefined ? undefined : this.answered(named);
    // The object that was planned has its forecast with the balancer.
    if (given !== undefined) return { ...given, mapping: plan?.held.mapping ?? given.mapping };
    if (plan?.epoch === this.#epoch && epoch === this.#epoch + 1) return plan.held;
    const message = `loads: epoch ${epoch} is not ${this.#epoch}, the live one; give the digest of a plan`;
    throw new EplbError('EPLB_STALE', `${message} from there, or physicalToLogical, if another went live`);
  }

  /** Forgets mappings that do not fit any more. */
  keepOnly(fits: (mapping: ExpertMapping) => boolean): void {
    for (const [epoch, mapping] of this.#epochs) if (!fits(mapping)) this.#epochs.delete(epoch);
    for (const [digest, plan] of this.#answered) if (!fits(plan.mapping)) this.#answered.delete(digest);
  }

  /** What was live last, before the live one. */
  get earlier(): { readonly epoch: number; readonly mapping: ExpertMapping } | undefined {
    const epoch = [...this.#epochs.keys()].filter((one) => one < this.#epoch).at(-1);
    return epoch === undefined ? undefined : { epoch, mapping: this.#epochs.get(epoch)! };
  }

  /** Of the first epoch nothing is known: its ranks may have been others. */
  forgetFirst(): void {
    this.#epochs.delete(0);
  }

  /** One of the epochs before the live one, as it was kept. */
  recall(epoch: number, mapping: ExpertMapping): void {
    this.#epochs.set(epoch, mapping);
  }

  /** A mapping is live from now on. */
  go(epoch: number, live: Held): void {
    this.#epoch = epoch;
    this.#live = live;
    this.#epochs.set(epoch, live.mapping);
    for (const old of this.#epochs.keys()) {
      if (this.#epochs.size <= MOST_EPOCHS) break;
      this.#epochs.delete(old);
    }
  }
}
