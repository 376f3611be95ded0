import { EplbError, EplbRangeError, EplbTypeError } from '../../core/errors.ts';
import type { ExpertMapping } from '../../index.ts';
import type { OfferAnswer } from '../../migration/coordinator-output.ts';
import type { OpenOperation } from '../../migration/group-state.ts';
import { checkLayers } from '../../migration/messages.ts';
import type { OperationOutcome } from '../../migration/outcome.ts';
import type { Held } from '../live-epochs.ts';
import { notFound } from '../refusal.ts';
import type { Coordination } from './coordination.ts';
import { ranksWithExperts } from './damage.ts';
import type { AckBody, OfferBody } from './epoch-bodies.ts';
import type { EpochHost } from './epoch-host.ts';
import { readOperationName } from './epoch-view.ts';
import type { RankBook } from './rank-book.ts';

// What requests about epochs may say, as things stand. Nothing here changes anything.

export const conflict = (message: string): EplbError => new EplbError('EPLB_CONFLICT', message);
export const stale = (message: string): EplbError => new EplbError('EPLB_STALE', message);

/** Why the coordinator took no offer. */
export function refusedOffer({ reason, text }: OfferAnswer & { status: 'refused' }): EplbError {
  return new EplbError(reason === 'stale' ? 'EPLB_STALE' : 'EPLB_CONFLICT', `offer: ${reason}: ${text}`);
}

/** The epoch that an operation goes to. */
function epochOf({ live }: Coordination['state'], { firstStep }: OpenOperation): number {
  return firstStep === undefined ? live.epoch + 1 : live.epoch;
}

/** How the last attempt at an epoch ended. */
export function lastOutcome(
  coordination: Coordination | undefined,
  epoch: number,
): OperationOutcome | undefined {
  const outcomes = [...(coordination?.state.outcomes.values() ?? [])];
  return outcomes.findLast(({ operationId }) => readOperationName(operationId).epoch === epoch);
}

/**
 * The attempt at an epoch that is under way.
 *
 * @throws EplbError `EPLB_STALE`, `EPLB_NOT_FOUND` when another one, or none, is
 */
export function operationAt(coordination: Coordination, epoch: number): OpenOperation {
  const { state } = coordination;
  const { operation, live } = state;
  if (operation !== undefined && epochOf(state, operation) === epoch) return operation;
  if (epoch <= live.epoch) throw stale(`epoch ${epoch} is past: epoch ${live.epoch} is live`);
  const outcome = lastOutcome(coordination, epoch);
  if (outcome?.status === 'aborted') throw stale(`the attempt at epoch ${epoch} was aborted`);
  throw notFound(`there is no attempt at epoch ${epoch}; epoch ${live.epoch} is live`);
}

/**
 * Whether a group may have another number of ranks now.
 *
 * @param live the live mapping, as a table of all ranks
 * @throws EplbError `EPLB_CONFLICT`
 */
export function checkResizable(
  coordination: Coordination | undefined,
  book: RankBook,
  live: ExpertMapping,
  before: number,
  numRanks: number,
): void {
  const { operation } = coordination?.state ?? {};
  if (operation !== undefined) {
    const epoch = epochOf(coordination!.state, operation);
    throw conflict(`group: an attempt at epoch ${epoch} is under way: abort it, or wait for its end`);
  }
  const holders = ranksWithExperts(live, before);
  for (let rank = numRanks; rank < before; rank++) {
    const why = book.deathOf(rank) === undefined ? 'lives' : holders.has(rank) ? 'holds experts' : undefined;
    if (why === undefined) continue;
    const advice = 'report it dead, and let an epoch go live without it';
    throw conflict(`group.numRanks: ${numRanks}, but rank ${rank} ${why}: ${advice}`);
  }
}

/**
 * Who says something, and of which act: a rank that takes part, and knows of this attempt.
 *
 * @throws EplbError `EPLB_CONFLICT`, `EPLB_STALE`; EplbTypeError `EPLB_KIND`
 */
export function speakerOf(
  title: string,
  { state }: Coordination,
  epoch: number,
  { rank, incarnation, token, digest }: AckBody,
): { readonly incarnation: number; readonly token: number } {
  const entry = state.ranks[rank]!;
  const { operation, activation, live } = state;
  const isOpen = operation !== undefined && epochOf(state, operation) === epoch;
  if (entry.state === 'fenced' || (isOpen && !operation.ranks.includes(rank))) {
    const why = entry.reason === '' ? '' : `: ${entry.reason}`;
    throw conflict(`${title}: rank ${rank} takes no part in epoch ${epoch}${why}`);
  }
  const wanted = isOpen ? operation.target.digest : live.digest;
  if (digest !== undefined && digest !== wanted) {
    throw stale(`${title}: digest: is not ${wanted}, that of epoch ${epoch}`);
  }
  const needed = isOpen ? operation.token : Math.max(activation.token, entry.since);
  if (entry.incarnation > 0 && (incarnation === undefined || token === undefined)) {
    const missing = incarnation === undefined ? 'incarnation' : 'token';
    throw new EplbTypeError('EPLB_KIND', `${title}: ${missing} is missing: rank ${rank} speaks for itself`);
  }
  if (incarnation !== undefined && incarnation !== entry.incarnation) {
    throw stale(`${title}: rank ${rank} is at incarnation ${entry.incarnation}, not ${incarnation}`);
  }
  if (token !== undefined && token !== needed) {
    throw stale(`${title}: token ${token} is not ${needed}, that of epoch ${epoch}`);
  }
  return { incarnation: entry.incarnation, token: token ?? needed };
}

/** The layers that a rank names, in order; all that change when it names none. @throws EplbRangeError */
export function layersOf(
  title: string,
  { layers }: AckBody,
  all: readonly number[],
  numLayers: number,
): readonly number[] {
  if (layers === undefined) return all;
  const checked = checkLayers(
    [...layers].sort((a, b) => a - b),
    numLayers,
  );
  const other = checked.find((layer) => !all.includes(layer));
  if (other === undefined) return checked;
  throw new EplbRangeError('EPLB_LAYER', `${title}.layers: layer ${other} does not change; these do: ${all}`);
}

/** The name of the attempt that an offer repeats. @throws EplbError `EPLB_CONFLICT` */
export function knownAttempt(
  coordination: Coordination | undefined,
  { operationId, digest }: OfferBody,
): string | undefined {
  const { operation, outcomes } = coordination?.state ?? {};
  const target = operation?.target;
  if (operationId === undefined) return target?.digest === digest ? target.operationId : undefined;
  const known = [...(target === undefined ? [] : [target]), ...(outcomes?.values() ?? [])].find(
    (one) => readOperationName(one.operationId).id === operationId,
  );
  if (known === undefined || known.digest === digest) return known?.operationId;
  throw conflict(`offer: ${operationId} was offered with another digest, ${known.digest}`);
}

/**
 * The mapping of a plan that may be offered now.
 *
 * @throws EplbError `EPLB_CONFLICT`, `EPLB_STALE`, `EPLB_NOT_FOUND`
 */
export function offerable(
  host: EpochHost,
  deadRanks: readonly number[],
  { digest, fromEpoch }: OfferBody,
): Held {
  const { epoch, held: live } = host.live();
  if (host.isPaused) throw conflict('offer: the group is paused; POST resume first');
  if (host.isDryRun) throw conflict('offer: the group is in a dry run: its plans are only shown');
  if (fromEpoch !== undefined && fromEpoch !== epoch) {
    throw stale(`offer: fromEpoch ${fromEpoch} is not ${epoch}, the live one`);
  }
  if (digest === live.digest) throw conflict(`offer: ${digest} is live`);
  const plan = host.answered(digest);
  if (plan === undefined) throw notFound(`offer: no plan with the digest ${digest} was answered`);
  if (plan.epoch !== epoch) {
    const from = plan.epoch === undefined ? 'another mapping than the live one' : `epoch ${plan.epoch}`;
    throw stale(`offer: the plan was made from ${from}, and epoch ${epoch} is live; plan again`);
  }
  const holders = ranksWithExperts(host.lay(plan.held.mapping), host.declaration.numRanks);
  const dead = deadRanks.find((rank) => holders.has(rank));
  if (dead !== undefined)
    throw stale(`offer: the plan has experts on rank ${dead}, which is dead; plan again`);
  return plan.held;
}
