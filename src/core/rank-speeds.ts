import type { Topology } from './topology.ts';

// How fast ranks are. What a rank takes is its load / its speed, and what all take at balance is the load of
// all / the speed of all.

type Speeds = Pick<Topology, 'numRanks' | 'rankSpeed'>;

/** The mean speed of the ranks: 1 where none is given. */
export function meanSpeed({ numRanks, rankSpeed }: Speeds): number {
  if (rankSpeed === undefined) return 1;
  return rankSpeed.reduce((sum, speed) => sum + speed, 0) / numRanks;
}

/** `[ranks]`: how fast each is, 1 in the mean; undefined where all are as fast as each other. */
export function relativeSpeeds(topology: Speeds): number[] | undefined {
  const { rankSpeed } = topology;
  if (rankSpeed === undefined || rankSpeed.every((speed) => speed === rankSpeed[0])) return undefined;
  const mean = meanSpeed(topology);
  return rankSpeed.map((speed) => speed / mean);
}

/** `[ranks]`: what each takes for a load of 1; undefined where all take 1. */
export function ranksPaces({ rankSpeed }: Speeds): number[] | undefined {
  return rankSpeed?.map((speed) => 1 / speed);
}
