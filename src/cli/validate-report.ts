import type { EngineVerdict } from '../formats/placements/engines.ts';
import type { PlacementFacts } from '../formats/placements/inspect.ts';
import type { BalanceSummary } from '../index.ts';
import type { RulesReport } from './rules-report.ts';
import type { SurvivalReport } from './survival-report.ts';

/** What a placement makes of recorded loads. */
export interface AgainstReport {
  readonly path: string;
  readonly format: string;
  /** What the reader of the loads assumed or left out. */
  readonly notes: readonly string[];
  /** Why there are no figures; null when there are. */
  readonly reason: string | null;
  readonly layers: readonly { layer: number; balancedness: number; peakToAverage: number }[];
  readonly overall: BalanceSummary | null;
}

/** Everything that `eplb validate` reports; what `--json` prints. */
export interface ValidateReport {
  readonly kind: 'validate-report';
  /** Raised when a field changes its meaning. */
  readonly formatVersion: 1;
  readonly path: string;
  readonly format: string;
  readonly notes: readonly string[];
  readonly facts: PlacementFacts;
  /** The engine whose verdict decides the exit code, or `all`. */
  readonly judgedFor: string;
  readonly engines: readonly EngineVerdict[];
  readonly against: AgainstReport | null;
  /** What a single failure loses; null when it was not asked for. */
  readonly survival: SurvivalReport | null;
  /** Where it breaks the rules of `--rules`; null where there are none. */
  readonly rules: RulesReport | null;
  /** Whether the engines that it is judged for take it. */
  readonly takes: boolean;
}
