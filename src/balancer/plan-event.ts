import type { PlanEvent } from '../core/events.ts';
import type { Topology } from '../core/topology.ts';
import type { ExpertMapping } from '../mapping/expert-mapping.ts';
import type { PlanForecast } from '../policy/decision.ts';

/** What became of a plan. */
export interface PlanOutcome {
  readonly status: PlanEvent['status'];
  readonly reason?: string;
  /** Of a plan that was made. */
  readonly mapping?: ExpertMapping;
  readonly forecast?: PlanForecast;
}

/** The balancer as it is when it is told. */
interface PlannedFor {
  readonly name: string;
  readonly generation: number;
  readonly mapping: ExpertMapping;
  readonly topology: Topology;
}

/** What is told of it. */
export function planEvent(
  { name: group, generation: epoch, mapping: live, topology }: PlannedFor,
  { status, reason, mapping, forecast }: PlanOutcome,
  seconds: number,
): PlanEvent {
  const isPlanned = status === 'planned' && mapping?.numPhysicalExperts === live.numPhysicalExperts;
  return {
    ...{ group, epoch, status, seconds },
    ...(reason !== undefined && { reason }),
    moves: isPlanned ? mapping.movesFrom(live, topology.numRanks) : 0,
    bytes: forecast?.bytes ?? 0,
  };
}
