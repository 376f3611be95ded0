import { checkObject, show } from '../core/checks.ts';
import { EplbTypeError } from '../core/errors.ts';
import { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { ExpertMappingInit } from '../mapping/mapping-init.ts';
import type { Transfer, TransferLayer } from './layer.ts';
import { TransferPlan } from './plan.ts';

/** What playing a plan shows. */
export type TransferCheck =
  | { readonly status: 'valid' }
  /** At least one problem, each with its layer and place; no more than 100 are listed. */
  | { readonly status: 'invalid'; readonly problems: readonly string[] };

const MOST_PROBLEMS = 100;
/** What no slot holds. */
const UNKNOWN = -2;

/**
 * Plays a plan step by step, on slots that hold numbers of experts, and checks whether it does what it says.
 * It shares only the types with the planner.
 *
 * A plan is valid if it has each layer once, and if the following holds in each layer. No rank sends or
 * receives two experts in a round, or takes part in two transfers at half duplex. Nothing is read from or
 * sent to a dead rank. Everything that is read is there, and nothing is overwritten in the round in which it
 * is read. If the plan is buffered, no slot is written before the activation. No slot is used that is empty
 * before and after. No expert is sent to a rank that has it. The bytes in flight are within the limit.
 * Fallbacks hold their expert. In the end, every slot holds what it should, or is listed as undone with a
 * reason that is true.
 *
 * @param from what the ranks hold
 * @param to what they should hold
 * @throws EplbTypeError `EPLB_KIND` for anything but a plan; for mappings as {@link ExpertMapping.fromJSON}
 */
export function checkTransfer(
  plan: TransferPlan,
  from: ExpertMapping | ExpertMappingInit,
  to: ExpertMapping | ExpertMappingInit,
): TransferCheck {
  if (!(plan instanceof TransferPlan)) {
    throw new EplbTypeError('EPLB_KIND', `plan: ${show(plan)} is not a TransferPlan`);
  }
  const before = from instanceof ExpertMapping ? from : ExpertMapping.fromJSON(checkObject('from', from));
  const after = to instanceof ExpertMapping ? to : ExpertMapping.fromJSON(checkObject('to', to));
  const problems: string[] = [];
  const report = (problem: string) => {
    if (problems.length < MOST_PROBLEMS) problems.push(problem);
  };
  checkHead(plan, before, after, report);
  if (problems.length === 0) {
    for (const layer of plan.layers) {
      new Player(plan, layer, before, after, (text) => report(`layer ${layer.layer}: ${text}`)).play();
    }
  }
  return problems.length === 0 ? { status: 'valid' } : { status: 'invalid', problems };
}

type Report = (problem: string) => void;

function checkHead(plan: TransferPlan, before: ExpertMapping, after: ExpertMapping, report: Report): void {
  for (const [name, mapping, digest] of [
    ['from', before, plan.digests.from],
    ['to', after, plan.digests.to],
  ] as const) {
    if (mapping.numLayers !== plan.numLayers || mapping.numPhysicalExperts !== plan.numPhysicalExperts) {
      report(`${name} has other sizes than the plan`);
    } else if (mapping.digest() !== digest) report(`${name} is not the mapping that the plan was made for`);
  }
  const layers = plan.layers.map(({ layer }) => layer).sort((a, b) => a - b);
  if (layers.length !== plan.numLayers || layers.some((layer, i) => layer !== i)) {
    report('its layers are not each layer once');
  }
  if (plan.schedule === 'batch' && (plan.mode === 'inPlace' || plan.relay)) {
    report('its rounds may not be issued together: they depend on each other');
  }
}

/** Plays one layer. */
class Player {
  readonly #plan: TransferPlan;
  readonly #layer: TransferLayer;
  readonly #report: Report;
  readonly #slotsPerRank: number;
  /** Slots of a rank, with buffer or staging. */
  readonly #width: number;
  /** [ranks x width] */
  readonly #content: Int32Array;
  readonly #before: Int32Array;
  readonly #after: Int32Array;
  readonly #dead: ReadonlySet<number>;

  constructor(
    plan: TransferPlan,
    layer: TransferLayer,
    before: ExpertMapping,
    after: ExpertMapping,
    report: Report,
  ) {
    this.#plan = plan;
    this.#layer = layer;
    this.#report = report;
    this.#slotsPerRank = plan.numPhysicalExperts / plan.numRanks;
    this.#dead = new Set(plan.deadRanks);
    if (plan.mode === 'inPlace' && layer.extraSlots > plan.staging)
      report('it uses more staging slots than there are');
    this.#width = this.#slotsPerRank + layer.extraSlots;
    this.#content = new Int32Array(plan.numRanks * this.#width).fill(UNKNOWN);
    this.#before = new Int32Array(plan.numPhysicalExperts);
    this.#after = new Int32Array(plan.numPhysicalExperts);
    for (let slot = 0; slot < plan.numPhysicalExperts; slot++) {
      this.#before[slot] = before.getLogicalExpert(layer.layer, slot);
      this.#after[slot] = after.getLogicalExpert(layer.layer, slot);
      const rank = Math.floor(slot / this.#slotsPerRank);
      if (this.#dead.has(rank) || this.#before[slot]! < 0) continue;
      this.#content[rank * this.#width + (slot % this.#slotsPerRank)] = this.#before[slot]!;
    }
  }

  play(): void {
    const { rounds } = this.#layer;
    this.#copy(0);
    for (const [i, round] of rounds.entries()) {
      this.#playRound(round, i);
      this.#copy(i + 1);
    }
    for (const load of this.#layer.hostLoads) {
      const what = `expert ${load.expert} from the host to rank ${load.targetRank}`;
      if (
        this.#before.some((expert, slot) => expert === load.expert && !this.#dead.has(this.#rankOf(slot)))
      ) {
        this.#report(`${what}: a live rank has it`);
      }
      this.#write(what, load, false);
    }
    this.#copy(rounds.length + 1);
    for (const { rank, slot } of this.#layer.clears) this.#clear(rank, slot);
    this.#compare();
  }

  #rankOf(slot: number): number {
    return Math.floor(slot / this.#slotsPerRank);
  }

  #copy(step: number): void {
    const isActivation = step > this.#layer.rounds.length;
    for (const copy of this.#layer.copies) {
      if (copy.step !== step) continue;
      const what = `copy of expert ${copy.expert} in rank ${copy.sourceRank} in step ${step}`;
      if (copy.sourceRank !== copy.targetRank) this.#report(`${what}: leads to rank ${copy.targetRank}`);
      this.#read(what, copy);
      this.#write(what, copy, isActivation);
    }
  }

  #playRound(round: readonly Transfer[], index: number): void {
    const { numRanks, bytesPerExpert } = this.#plan;
    const [sends, receives] = [new Int32Array(numRanks), new Int32Array(numRanks)];
    const isRead = new Set<number>();
    const name = ({ expert, sourceRank, targetRank }: Transfer) =>
      `expert ${expert} from rank ${sourceRank} to rank ${targetRank} in round ${index}`;
    // All is read before anything is written, and nothing may be both.
    for (const transfer of round) {
      const { expert, sourceRank, sourceSlot, targetRank } = transfer;
      const what = name(transfer);
      if (sourceRank === targetRank) this.#report(`${what}: is not a transfer`);
      if (transfer.bytes !== bytesPerExpert) this.#report(`${what}: has ${transfer.bytes} bytes`);
      sends[sourceRank]!++;
      receives[targetRank]!++;
      isRead.add(sourceRank * this.#width + sourceSlot);
      this.#read(what, transfer);
      const first = targetRank * this.#width;
      if (this.#content.subarray(first, first + this.#width).includes(expert)) {
        this.#report(`${what}: rank ${targetRank} has it already`);
      }
      for (const { rank, slot } of transfer.fallbacks ?? []) {
        const isThere =
          this.#before[rank * this.#slotsPerRank + slot] === expert && slot < this.#slotsPerRank;
        if (!isThere || this.#dead.has(rank))
          this.#report(`${what}: its fallback rank ${rank} does not have it`);
      }
    }
    for (const transfer of round) {
      if (isRead.has(transfer.targetRank * this.#width + transfer.targetSlot)) {
        this.#report(`${name(transfer)}: overwrites slot ${transfer.targetSlot} while it is read`);
      }
      this.#write(name(transfer), transfer, false);
    }
    this.#checkBusy(sends, receives, index);
  }

  #checkBusy(sends: Int32Array, receives: Int32Array, round: number): void {
    const { duplex, maxBytesInFlight, bytesPerExpert, roundsPerBatch } = this.#plan;
    for (const [rank, sent] of sends.entries()) {
      const received = receives[rank]!;
      const what = `rank ${rank} sends ${sent} and receives ${received} in round ${round}`;
      const isTooMuch = sent > 1 || received > 1 || (duplex === 'half' && sent + received > 1);
      if (isTooMuch) this.#report(`${what}, at ${duplex} duplex`);
      const together = Math.min(roundsPerBatch ?? this.#layer.rounds.length, this.#layer.rounds.length);
      const bytes = (sent + received) * bytesPerExpert;
      if (maxBytesInFlight === null) continue;
      if (bytes > maxBytesInFlight) this.#report(`${what}: more than ${maxBytesInFlight} bytes`);
      const mostOfRound = duplex === 'half' || maxBytesInFlight < 2 * bytesPerExpert ? 1 : 2;
      if (together > 1 && together * mostOfRound * bytesPerExpert > maxBytesInFlight) {
        this.#report(`${together} rounds at once are more than ${maxBytesInFlight} bytes`);
      }
    }
  }

  #read(
    what: string,
    { expert, sourceRank, sourceSlot }: Pick<Transfer, 'expert' | 'sourceRank' | 'sourceSlot'>,
  ): void {
    if (this.#dead.has(sourceRank)) this.#report(`${what}: rank ${sourceRank} is dead`);
    if (sourceSlot >= this.#width) this.#report(`${what}: rank ${sourceRank} has no slot ${sourceSlot}`);
    else if (this.#content[sourceRank * this.#width + sourceSlot] !== expert) {
      this.#report(`${what}: it is not in slot ${sourceSlot}`);
    }
  }

  #write(
    what: string,
    place: { readonly expert: number; readonly targetRank: number; readonly targetSlot: number },
    isActivation: boolean,
  ): void {
    const { targetRank, targetSlot, expert } = place;
    if (this.#dead.has(targetRank)) this.#report(`${what}: rank ${targetRank} is dead`);
    if (targetSlot >= this.#width) {
      this.#report(`${what}: rank ${targetRank} has no slot ${targetSlot}`);
      return;
    }
    if (targetSlot < this.#slotsPerRank) {
      if (this.#plan.mode === 'buffered' && !isActivation) {
        this.#report(`${what}: overwrites slot ${targetSlot} before the activation`);
      }
      if (this.#after[targetRank * this.#slotsPerRank + targetSlot]! < 0) {
        this.#report(`${what}: slot ${targetSlot} is to be empty`);
      }
    }
    this.#content[targetRank * this.#width + targetSlot] = expert;
  }

  #clear(rank: number, slot: number): void {
    const at = rank * this.#slotsPerRank + slot;
    if (
      slot >= this.#slotsPerRank ||
      this.#after[at]! >= 0 ||
      this.#before[at]! < 0 ||
      this.#dead.has(rank)
    ) {
      this.#report(`slot ${slot} of rank ${rank} is not to be cleared`);
      return;
    }
    this.#content[rank * this.#width + slot] = UNKNOWN;
  }

  #compare(): void {
    const undone = new Map<number, string>();
    for (const { expert, targetRank, targetSlot, reason } of this.#layer.undone) {
      const slot = targetRank * this.#slotsPerRank + targetSlot;
      const isTrue = reason === 'deadRank' ? this.#dead.has(targetRank) : this.#mayLackStaging(targetRank);
      if (targetSlot >= this.#slotsPerRank || this.#after[slot] !== expert || !isTrue || undone.has(slot)) {
        this.#report(`slot ${targetSlot} of rank ${targetRank} is not undone for '${reason}'`);
      }
      undone.set(slot, reason);
    }
    for (const [slot, expert] of this.#after.entries()) {
      const rank = this.#rankOf(slot);
      const place = slot % this.#slotsPerRank;
      const found = this.#content[rank * this.#width + place]!;
      const isRight = found === (expert < 0 ? UNKNOWN : expert);
      if (this.#dead.has(rank)) {
        if (expert >= 0 && !undone.has(slot))
          this.#report(`slot ${place} of dead rank ${rank} is not listed`);
      } else if (isRight && undone.has(slot)) this.#report(`slot ${place} of rank ${rank} is not undone`);
      else if (!isRight && !undone.has(slot)) {
        const holds = found < 0 ? 'nothing' : `expert ${found}`;
        this.#report(`slot ${place} of rank ${rank} holds ${holds} in the end, not ${expert}`);
      }
    }
  }

  #mayLackStaging(rank: number): boolean {
    return this.#plan.mode === 'inPlace' && this.#plan.staging === 0 && !this.#dead.has(rank);
  }
}
