// What is known of a group's ranks beside the protocol: leases, who is dead, and how fast each is. All times
// are given: nothing here has a clock.

/** A rank's promise to be heard of again. */
export interface Lease {
  /** Which start of the rank's process it is. */
  readonly incarnation: number;
  readonly ttlMs: number;
  /**
   * Whether the rank serves no step later than `ttlMs` after it sent the last heartbeat that was answered.
   * Only then is silence a proof that it has stopped.
   */
  readonly stopsWithLease: boolean;
}

/** `none` never had a lease, or lost it; `suspected` is late; `dead` holds nothing any more. */
export type LeaseState = 'none' | 'alive' | 'suspected' | 'dead';

/** Why a rank counts as dead, and which of its processes are. */
export interface Death {
  readonly rank: number;
  /** This one and those before; -1 for a rank that never was. */
  readonly incarnation: number;
  readonly cause: 'declared' | 'reported' | 'lease';
}

/** All of it as plain data, for the state's file. */
export interface SavedRanks {
  readonly leases: readonly (Lease & { readonly rank: number })[];
  readonly dead: readonly Death[];
  /** [ranks] */
  readonly speed: readonly number[] | null;
}

interface RankEntry {
  lease: Lease | undefined;
  heardMs: number;
  isSuspected: boolean;
  death: Death | undefined;
}

/** What is kept of ranks once there are others: see {@link RankBook.resize}. */
export function resizedRanks(
  { leases, dead, speed }: SavedRanks,
  numRanks: number,
  awaited: readonly number[],
  given: readonly number[] | undefined,
): SavedRanks {
  const isThere = ({ rank }: { readonly rank: number }) => rank < numRanks;
  const all = Array.from({ length: numRanks }, (_, rank) => speed?.[rank] ?? given?.[rank] ?? 1);
  return {
    leases: leases.filter(isThere),
    dead: [
      ...dead.filter(isThere),
      ...awaited.map((rank): Death => ({ rank, incarnation: -1, cause: 'declared' })),
    ],
    speed: all.every((one) => one === 1) ? null : all,
  };
}

/** The ranks of a group as they report themselves, or are reported. */
export class RankBook {
  readonly #ranks: RankEntry[];
  #speed: readonly number[] | null;

  constructor(numRanks: number, deadRanks: readonly number[] = [], speed: readonly number[] | null = null) {
    this.#ranks = Array.from({ length: numRanks }, (_, rank) => ({
      ...{ lease: undefined, heardMs: 0, isSuspected: false },
      death: deadRanks.includes(rank) ? { rank, incarnation: -1, cause: 'declared' } : undefined,
    }));
    this.#speed = speed;
  }

  /** Ranks are added, which are not there yet, or the last ones are gone. @param speed of all of them */
  resize(numRanks: number, awaited: readonly number[], speed: readonly number[] | null): void {
    this.#ranks.length = Math.min(this.#ranks.length, numRanks);
    for (let rank = this.#ranks.length; rank < numRanks; rank++) {
      const death: Death = { rank, incarnation: -1, cause: 'declared' };
      this.#ranks.push({
        ...{ lease: undefined, heardMs: 0, isSuspected: false },
        death: awaited.includes(rank) ? death : undefined,
      });
    }
    this.#speed = speed;
  }

  /** In ascending order. */
  get deadRanks(): readonly number[] {
    return this.#ranks.flatMap(({ death }, rank) => (death === undefined ? [] : [rank]));
  }

  get speed(): readonly number[] | null {
    return this.#speed;
  }

  stateOf(rank: number): LeaseState {
    const { lease, isSuspected, death } = this.#ranks[rank]!;
    if (death !== undefined) return 'dead';
    if (lease === undefined) return 'none';
    return isSuspected ? 'suspected' : 'alive';
  }

  /** The incarnation of the lease, and when it was renewed last. */
  leaseOf(rank: number): (Lease & { readonly heardMs: number }) | undefined {
    const { lease, heardMs } = this.#ranks[rank]!;
    return lease && { ...lease, heardMs };
  }

  deathOf(rank: number): Death | undefined {
    return this.#ranks[rank]!.death;
  }

  /**
   * Whether a heartbeat shows that a dead rank is back: a new process is, and so is one that only was silent.
   * One that was reported dead is not believed.
   */
  isBack(rank: number, incarnation: number): boolean {
    const death = this.#ranks[rank]!.death;
    if (death === undefined) return false;
    return incarnation > death.incarnation || (death.cause === 'lease' && incarnation === death.incarnation);
  }

  /** @returns whether anything is to be made durable: the terms are others than before */
  renew(rank: number, lease: Lease, nowMs: number): boolean {
    const entry = this.#ranks[rank]!;
    const before = entry.lease;
    entry.lease = lease;
    entry.heardMs = nowMs;
    entry.isSuspected = false;
    return (
      before?.incarnation !== lease.incarnation ||
      before.ttlMs !== lease.ttlMs ||
      before.stopsWithLease !== lease.stopsWithLease
    );
  }

  /** @param incarnation of its newest process that is known */
  die(rank: number, incarnation: number, cause: Death['cause']): void {
    const entry = this.#ranks[rank]!;
    entry.lease = undefined;
    entry.isSuspected = false;
    entry.death = { rank, incarnation, cause };
  }

  return(rank: number): void {
    this.#ranks[rank]!.death = undefined;
  }

  setSpeed(rank: number, speed: number): void {
    const all = [...(this.#speed ?? this.#ranks.map(() => 1))];
    all[rank] = speed;
    this.#speed = all.every((one) => one === 1) ? null : all;
  }

  /** Lets time pass. @returns who is suspected now, and whose silence is a proof by now */
  tick(nowMs: number): { readonly suspected: readonly number[]; readonly silent: readonly number[] } {
    const suspected: number[] = [];
    const silent: number[] = [];
    for (const [rank, entry] of this.#ranks.entries()) {
      if (entry.lease === undefined) continue;
      const { ttlMs, stopsWithLease } = entry.lease;
      const silentMs = nowMs - entry.heardMs;
      if (silentMs >= ttlMs && !entry.isSuspected) {
        entry.isSuspected = true;
        suspected.push(rank);
      }
      // Twice as long, as the rank counts by another clock.
      if (silentMs >= 2 * ttlMs && stopsWithLease) silent.push(rank);
    }
    return { suspected, silent };
  }

  /** When the next tick has something to do, or undefined. */
  nextTickMs(): number | undefined {
    let next: number | undefined;
    for (const { lease, heardMs, isSuspected } of this.#ranks) {
      if (lease === undefined || (isSuspected && !lease.stopsWithLease)) continue;
      const at = heardMs + (isSuspected ? 2 : 1) * lease.ttlMs;
      next = Math.min(next ?? at, at);
    }
    return next;
  }

  save(): SavedRanks {
    return {
      leases: this.#ranks.flatMap(({ lease }, rank) => (lease === undefined ? [] : [{ rank, ...lease }])),
      dead: this.#ranks.flatMap(({ death }) => death ?? []),
      speed: this.#speed,
    };
  }

  /** Goes on from what was kept. Every lease begins anew. */
  resume({ leases, dead, speed }: SavedRanks, nowMs: number): void {
    for (const entry of this.#ranks) entry.death = undefined;
    for (const { rank, ...lease } of leases) this.renew(rank, lease, nowMs);
    for (const death of dead) this.#ranks[death.rank]!.death = death;
    this.#speed = speed;
  }
}
