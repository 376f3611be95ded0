import { places } from '../formats/number-text.ts';
import type { ReplayResult, ReplayTime } from './result.ts';
import type { ReplayTraffic } from './traffic-result.ts';

/** Whether replays have more to show than that all tokens take the same links. */
export function hasLinks(replays: readonly ReplayResult[]): boolean {
  return replays.some(({ traffic, configuration }) => {
    return traffic !== undefined && (traffic.live.links.length > 1 || configuration.dispatch !== undefined);
  });
}

/** How traffic was counted, in two sentences. */
export function trafficMeanings({
  countedFrom,
  sources,
}: Pick<ReplayTraffic, 'countedFrom' | 'sources'>): readonly [string, string] {
  return [
    countedFrom === 'routes'
      ? 'A rank gets a token once, however many of its experts it has.'
      : "Every token of an expert is a transfer of its own: loads don't tell which experts a token has.",
    sources === 'given'
      ? 'Tokens are on the ranks that the recording has them on.'
      : 'Tokens are on all ranks alike, as nothing recorded says where.',
  ];
}

/** What the modelled time counts of dispatch and combine. */
export function sentText({
  sentFrom,
  tokenStride = 1,
}: Pick<ReplayTime, 'sentFrom' | 'tokenStride'>): string {
  if (sentFrom !== 'routes') return 'each token to each of its experts, by loads';
  const looked = tokenStride === 1 ? '' : `; of steps one token in ${places(tokenStride, 0)} is looked at`;
  return `each token once to a rank, by routes${looked}`;
}
