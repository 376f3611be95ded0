// What vLLM's data-parallel engines say of themselves, and what follows from it. As in vLLM's pull requests
// 44428 and 46370: GET /v1/fault_tolerance/status of each front end, whose `mask` has a 1 for each rank of
// expert parallelism that did not answer.

/** What is known of an engine. */
export interface EngineStatus {
  readonly status: 'healthy' | 'unhealthy' | 'diagnosing' | 'dead' | 'unknown' | 'unreachable';
  /** The data-parallel ranks that it takes for dead; undefined where it says nothing that fits. */
  readonly deadRanks: readonly number[] | undefined;
  /** The last instruction that it has finished. */
  readonly requestId: string | undefined;
  /** Why that failed. */
  readonly error: string | undefined;
}

const UNREACHABLE: EngineStatus = {
  ...{ status: 'unreachable', deadRanks: undefined, requestId: undefined, error: undefined },
};
const STATUSES: readonly unknown[] = ['healthy', 'unhealthy', 'diagnosing', 'dead'];

/** Asks the front end of an engine. Never throws: an engine that does not answer is unreachable. */
export async function askEngine(
  { url, key }: { readonly url: string; readonly key: string | undefined },
  rank: number,
  numEngines: number,
  timeoutMs: number,
): Promise<EngineStatus> {
  try {
    const response = await fetch(new URL('/v1/fault_tolerance/status', url), {
      signal: AbortSignal.timeout(timeoutMs),
      headers: authorization(key),
      redirect: 'error',
    });
    const answer: unknown = await response.json();
    return response.ok ? readStatus(answer, rank, numEngines) : UNREACHABLE;
  } catch {
    return UNREACHABLE;
  }
}

/** The header that vLLM's `--api-key` asks for. */
export function authorization(key: string | undefined): Readonly<Record<string, string>> {
  return key === undefined ? {} : { authorization: `Bearer ${key}` };
}

/** Reads an answer. What is not as recorded is 'unknown', and nothing is done because of it. */
function readStatus(answer: unknown, rank: number, numEngines: number): EngineStatus {
  const unknown: EngineStatus = { ...UNREACHABLE, status: 'unknown' };
  if (!isRecord(answer) || answer.schema_version !== 1 || !Array.isArray(answer.engines)) return unknown;
  const engine: unknown = answer.engines.find((one: unknown) => isRecord(one) && one.id === rank);
  if (!isRecord(engine) || !STATUSES.includes(engine.status)) return unknown;
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  return {
    status: engine.status as EngineStatus['status'],
    deadRanks: ranksOfMask(engine.mask, numEngines),
    requestId: text(engine.last_ft_request_id),
    error: text(engine.ft_error)?.slice(0, 1000),
  };
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A mask has a number for each rank of expert parallelism: as many for each engine. */
function ranksOfMask(mask: unknown, numEngines: number): readonly number[] | undefined {
  if (!Array.isArray(mask) || mask.length === 0 || mask.length % numEngines !== 0) return undefined;
  if (!mask.every((one) => one === 0 || one === 1 || typeof one === 'boolean')) return undefined;
  const ranksEach = mask.length / numEngines;
  const dead = new Set<number>();
  for (const [i, one] of mask.entries()) if (Number(one) === 1) dead.add(Math.floor(i / ranksEach));
  return [...dead].sort((a, b) => a - b);
}

/** What follows from the states of all engines. */
export type Finding =
  /** All that are not removed are healthy. */
  | { readonly kind: 'healthy' }
  /** Something is wrong, and not yet clear. */
  | { readonly kind: 'waiting'; readonly reason: string }
  /** All others say that these are dead, and they are. */
  | { readonly kind: 'dead'; readonly removed: readonly number[]; readonly survivors: readonly number[] };

/**
 * Judges the states of all engines, by rank. Engines are taken for dead only when every other one says so,
 * and they say nothing to the contrary.
 *
 * @param gone ranks that were removed before
 */
export function judge(engines: readonly EngineStatus[], gone: ReadonlySet<number>): Finding {
  const left = [...engines.keys()].filter((rank) => !gone.has(rank));
  if (left.every((rank) => engines[rank]!.status === 'healthy')) return { kind: 'healthy' };
  const isDown = (rank: number) => ['dead', 'unreachable'].includes(engines[rank]!.status);
  const removed = left.filter(isDown);
  const survivors = left.filter((rank) => !isDown(rank));
  if (removed.length === 0) return { kind: 'waiting', reason: 'no engine is dead' };
  if (survivors.length === 0) return { kind: 'waiting', reason: 'no engine answers' };
  for (const rank of survivors) {
    const { status, deadRanks } = engines[rank]!;
    if (status !== 'unhealthy') return { kind: 'waiting', reason: `engine ${rank} is ${status}` };
    const named = deadRanks?.filter((one) => !gone.has(one));
    if (named?.join() !== removed.join()) {
      const says =
        named === undefined ? 'says nothing about the others' : `reports ${named.join(', ')} as dead`;
      return { kind: 'waiting', reason: `engine ${rank} ${says}, and ${removed.join(', ')} do not answer` };
    }
  }
  return { kind: 'dead', removed, survivors };
}
