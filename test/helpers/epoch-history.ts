/**
 * Checks what all clients of some services have seen of a group's epochs. Each operation took some time, and
 * took effect at one moment of it. An epoch that anybody has seen is there from the end of that operation on.
 */

export interface SeenEpoch {
  readonly client: string;
  readonly group: string;
  /**
   * - `read`: this is live. With `isStale` it was, at some time.
   * - `commit`: the attempt went live as this epoch; that was acknowledged.
   * - `abort`: the attempt ended, and is not live; that was acknowledged.
   */
  readonly kind: 'read' | 'commit' | 'abort';
  readonly epoch: number;
  readonly digest: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly isStale?: boolean;
  /** Of a commit or an abort. */
  readonly attempt?: string;
  /** Of the leader that has answered. */
  readonly term?: number;
}

/** What cannot have been, in words; nothing when all is well. */
export function violationsOf(history: readonly SeenEpoch[]): string[] {
  const groups = new Map<string, SeenEpoch[]>();
  for (const seen of history) {
    const own = groups.get(seen.group);
    if (own === undefined) groups.set(seen.group, [seen]);
    else own.push(seen);
  }
  return [...groups.values()].flatMap((own) => [
    ...forks(own),
    ...goingBack(own),
    ...doubleOutcomes(own),
    ...termsGoingBack(own),
  ]);
}

const textOf = ({ client, kind, group, epoch, digest, attempt = '', term }: SeenEpoch) =>
  `${client}: ${kind} of ${group} ${epoch} ${digest.slice(0, 8)} ${attempt} ${term ?? ''}`.trim();

/** An epoch is one mapping, whoever asks. */
function forks(history: readonly SeenEpoch[]): string[] {
  const first = new Map<number, SeenEpoch>();
  const found: string[] = [];
  for (const seen of history) {
    if (seen.kind === 'abort') continue;
    const before = first.get(seen.epoch);
    if (before === undefined) first.set(seen.epoch, seen);
    else if (before.digest !== seen.digest) found.push(`fork: ${textOf(before)}; ${textOf(seen)}`);
  }
  return found;
}

/** What begins after somebody has seen an epoch sees that or a later one: so no commit is lost, either. */
function goingBack(history: readonly SeenEpoch[]): string[] {
  const seen = history.filter(({ kind }) => kind !== 'abort');
  const byEnd = [...seen].sort((a, b) => a.endMs - b.endMs);
  const byStart = seen.filter(({ isStale }) => isStale !== true).sort((a, b) => a.startMs - b.startMs);
  const found: string[] = [];
  let next = 0;
  let newest: SeenEpoch | undefined;
  for (const own of byStart) {
    for (; next < byEnd.length && byEnd[next]!.endMs < own.startMs; next++) {
      if (newest === undefined || byEnd[next]!.epoch > newest.epoch) newest = byEnd[next];
    }
    if (newest !== undefined && own.epoch < newest.epoch) {
      found.push(`back: ${textOf(own)} after ${textOf(newest)}`);
    }
  }
  return found;
}

/** An attempt ends once: as one epoch, or as none. */
function doubleOutcomes(history: readonly SeenEpoch[]): string[] {
  const ended = new Map<string, SeenEpoch>();
  const found: string[] = [];
  for (const seen of history) {
    if (seen.attempt === undefined) continue;
    const before = ended.get(seen.attempt);
    if (before === undefined) ended.set(seen.attempt, seen);
    else if (before.kind !== seen.kind || before.epoch !== seen.epoch) {
      found.push(`twice: ${textOf(before)}; ${textOf(seen)}`);
    }
  }
  return found;
}

/** Later epochs are decided by the same leader or by a later one. */
function termsGoingBack(history: readonly SeenEpoch[]): string[] {
  const commits = history
    .filter(({ kind, term }) => kind === 'commit' && term !== undefined)
    .sort((a, b) => a.epoch - b.epoch || a.term! - b.term!);
  return commits.flatMap((own, i) => {
    const before = commits[i - 1];
    if (before === undefined || before.term! <= own.term!) return [];
    return [`former leader: ${textOf(own)} after ${textOf(before)}`];
  });
}
