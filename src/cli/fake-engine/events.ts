import { jsonText } from '../../core/printable.ts';
import { bytes, counted, grouped, percent, seconds, threeFigures } from '../../formats/number-text.ts';

/** What a plan promised, and what came of it. */
export interface GainFigures {
  readonly predicted: number | null;
  readonly realised: number;
  readonly unit: string;
}

/** A death, and what it cost. */
export interface DeathFigures {
  readonly rank: number;
  readonly step: number;
  /** Tokens that no rank had the expert for, or that were at the rank as it died. */
  readonly tokensLost: number;
  readonly stepsWithLoss: number;
  /** Until every token was served again; null when that has not come. */
  readonly secondsToRepair: number | null;
  /** Until the rank served again; null when that has not come. */
  readonly secondsToReturn: number | null;
}

/** All that happened. */
export interface Summary {
  readonly steps: number;
  readonly epochs: number;
  /** Attempts that ended aborted. */
  readonly aborted: number;
  readonly refused: number;
  /** Experts by where they came from: other ranks, other slots of the rank, the checkpoint. */
  readonly moves: { readonly received: number; readonly copied: number; readonly loaded: number };
  readonly bytesReceived: number;
  readonly gains: readonly GainFigures[];
  readonly deaths: readonly DeathFigures[];
  readonly tokensLost: number;
  /** Slots whose content was compared, and those that were wrong. */
  readonly slotsVerified: number;
  readonly slotsWrong: number;
  /** Steps that ranks began at different epochs. */
  readonly stepsSplit: number;
}

/** What the engine tells, one line each. `step`: how many were served before. */
export type EngineEvent = { readonly step: number } & (
  | {
      readonly type: 'group';
      readonly group: string;
      readonly url: string;
      readonly numLayers: number;
      readonly numLogicalExperts: number;
      readonly numPhysicalExperts: number;
      readonly numRanks: number;
      readonly expertBytes: number;
    }
  | { readonly type: 'started'; readonly ranks: number; readonly epoch: number }
  /** Tokens go to other experts than before. */
  | { readonly type: 'shifted'; readonly share: number; readonly sinceStep: number }
  | { readonly type: 'offered'; readonly epoch: number; readonly moves: number | null; readonly why: string }
  | { readonly type: 'kept'; readonly reason: string }
  | {
      readonly type: 'activated';
      readonly epoch: number;
      readonly ranks: number;
      readonly received: number;
      readonly copied: number;
      readonly loaded: number;
      readonly bytesReceived: number;
    }
  | { readonly type: 'verified'; readonly epoch: number; readonly slots: number; readonly wrong: number }
  | { readonly type: 'wrong'; readonly rank: number; readonly where: string }
  | { readonly type: 'refused'; readonly rank: number; readonly epoch: number; readonly reason: string }
  | { readonly type: 'aborted'; readonly epoch: number; readonly reason: string }
  /** The epoch is live, and these ranks are out. */
  | { readonly type: 'without'; readonly epoch: number; readonly ranks: readonly number[] }
  | { readonly type: 'died'; readonly rank: number; readonly reason: string }
  | ({ readonly type: 'repaired' } & Pick<DeathFigures, 'rank' | 'tokensLost' | 'stepsWithLoss'> & {
        readonly seconds: number;
      })
  | { readonly type: 'impossible'; readonly message: string }
  | { readonly type: 'restarted'; readonly rank: number }
  | { readonly type: 'returned'; readonly rank: number; readonly seconds: number }
  | { readonly type: 'split'; readonly epochs: readonly number[] }
  | { readonly type: 'service'; readonly isThere: boolean; readonly reason: string }
  | { readonly type: 'problem'; readonly message: string }
  | ({ readonly type: 'summary' } & Summary)
);

/** An event as a line of JSON. */
export const eventJson = (event: EngineEvent): string => jsonText(event);

/** An event as a line for people; the summary has several. */
export function eventText(event: EngineEvent): string {
  if (event.type === 'summary') return summaryText(event);
  return `step ${event.step}: ${sentenceOf(event)}`;
}

function sentenceOf(event: Exclude<EngineEvent, { readonly type: 'summary' }>): string {
  switch (event.type) {
    case 'group': {
      const { group, url, numLayers, numLogicalExperts, numPhysicalExperts, numRanks } = event;
      return (
        `group ${group} at ${url}: ${counted(numLayers, 'layer')}, ` +
        `${counted(numLogicalExperts, 'expert')} of ${bytes(event.expertBytes)} in ` +
        `${counted(numPhysicalExperts, 'slot')} on ${counted(numRanks, 'rank')}`
      );
    }
    case 'started':
      return `${counted(event.ranks, 'rank')} serve epoch ${event.epoch}`;
    case 'shifted': {
      const share = percent(event.share);
      return `the load has changed: since step ${event.sinceStep} ${share} of the tokens go to other experts`;
    }
    case 'offered':
      return `epoch ${event.epoch} offered, ${event.why}${movesText(event.moves)}`;
    case 'kept':
      return `no plan: ${event.reason}`;
    case 'activated': {
      const { epoch, ranks, received, copied, loaded, bytesReceived } = event;
      return (
        `epoch ${epoch} activated on ${counted(ranks, 'rank')}: ${counted(received, 'expert')} from other ` +
        `ranks (${bytes(bytesReceived)}), ${grouped(copied)} copied, ${grouped(loaded)} from the checkpoint`
      );
    }
    case 'verified': {
      const { epoch, slots, wrong } = event;
      return `epoch ${epoch} weights verified: ${counted(slots, 'slot')}, ${grouped(wrong)} wrong`;
    }
    case 'wrong':
      return `rank ${event.rank} has wrong weights in ${event.where}`;
    case 'refused':
      return `rank ${event.rank} refused epoch ${event.epoch}: ${event.reason}`;
    case 'aborted':
      return `epoch ${event.epoch} aborted: ${event.reason}`;
    case 'without':
      return `epoch ${event.epoch} is live without ranks ${event.ranks.join(', ')}`;
    case 'died':
      return `rank ${event.rank} died: ${event.reason}`;
    case 'repaired': {
      const { rank, tokensLost, stepsWithLoss, seconds: took } = event;
      const lost = `${counted(tokensLost, 'token')} of ${counted(stepsWithLoss, 'step')} lost`;
      return `repaired without rank ${rank}: every token is served again after ${seconds(took)}, ${lost}`;
    }
    case 'impossible':
      return `no repair is possible: ${event.message}`;
    case 'restarted':
      return `rank ${event.rank} started anew`;
    case 'returned':
      return `rank ${event.rank} serves again, ${seconds(event.seconds)} after its death`;
    case 'split':
      return `ranks began this step at epochs ${event.epochs.join(' and ')}`;
    case 'service':
      return event.isThere ? 'the service answers again' : `the service is away: ${event.reason}`;
    case 'problem':
      return event.message;
  }
}

function summaryText(summary: Summary): string {
  const { steps, epochs, aborted, refused, moves, gains, deaths } = summary;
  const lines = [
    ` steps      ${grouped(steps)} served`,
    ` epochs     ${grouped(epochs)} activated, ${grouped(aborted)} aborted, ${counted(refused, 'refusal')}`,
    ` moves      ${counted(moves.received, 'expert')} from other ranks (${bytes(summary.bytesReceived)}), ` +
      `${grouped(moves.copied)} copied, ${grouped(moves.loaded)} from the checkpoint`,
    ...gains.map(gainText),
    ...deaths.map(deathText),
    ` lost       ${counted(summary.tokensLost, 'token')}`,
    ` verified   ${counted(summary.slotsVerified, 'slot')} by content, ` +
      `${grouped(summary.slotsWrong)} wrong; ${counted(summary.stepsSplit, 'step')} at two epochs`,
  ];
  return lines.join('\n');
}

function gainText({ predicted, realised, unit }: GainFigures): string {
  const text = (value: number) => (unit === 'seconds' ? seconds(value) : threeFigures(value));
  const promised = predicted === null ? 'nothing' : text(predicted);
  const of = unit === 'seconds' ? '' : ' of the mean rank load';
  return ` gain       ${promised} predicted, ${text(realised)} realised a step${of}`;
}

function movesText(moves: number | null): string {
  return moves === null ? '' : `: ${counted(moves, 'move')}`;
}

function deathText(death: DeathFigures): string {
  const { rank, step, tokensLost, stepsWithLoss, secondsToRepair, secondsToReturn } = death;
  const repaired = secondsToRepair === null ? 'not repaired' : `repaired after ${seconds(secondsToRepair)}`;
  const back = secondsToReturn === null ? 'not back' : `back after ${seconds(secondsToReturn)}`;
  return (
    ` death      rank ${rank} at step ${step}: ${counted(tokensLost, 'token')} of ` +
    `${counted(stepsWithLoss, 'step')} lost, ${repaired}, ${back}`
  );
}
