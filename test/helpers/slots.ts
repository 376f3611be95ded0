import assert from 'node:assert/strict';
import {
  AdaptiveEplbPolicy,
  type AdaptiveEplbPolicyOptions,
  type ExpertMapping,
  type PlanDecision,
  type PolicyContext,
} from 'expert-load-balancer';
import { makeSamples } from './adaptive.ts';

/** Ranks of six slots, */
export const sizes = {
  numLayers: 3,
  numLogicalExperts: 16,
  numPhysicalExperts: 24,
  numRanks: 4,
  numNodes: 2,
  numGroups: 4,
};
/** of which some are closed. */
export const slotsPerRank = [6, 3, 5, 4];
export const topology = { ...sizes, slotsPerRank };

/** A plan of the adaptive policy for {@link sizes}. */
export function plan(
  context: PolicyContext,
  options: AdaptiveEplbPolicyOptions = {},
  seed = 1,
): PlanDecision {
  return new AdaptiveEplbPolicy(options).planExperts(makeSamples(sizes, 8, seed), 24, 4, 2, 4, context);
}

/** All open slots hold an expert, and no others. */
export function assertClosedEmpty(mapping: ExpertMapping): void {
  for (const row of mapping.toJSON().phyToLog) {
    assert.deepEqual(
      row.map((expert) => expert >= 0),
      row.map((_, slot) => slot % 6 < slotsPerRank[Math.floor(slot / 6)]!),
    );
  }
}
