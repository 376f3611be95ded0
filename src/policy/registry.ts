import type { Dispatch } from '../core/dispatch.ts';
import type { CostModel } from '../cost/cost-model.ts';
import type { AbstractEplbPolicy } from './abstract.ts';
import type { AdaptiveCostModel, AdaptiveEplbPolicyOptions } from './adaptive/options.ts';
import { AdaptiveEplbPolicy } from './adaptive/policy.ts';
import { DefaultEplbPolicy } from './default.ts';
import { LocalityAwarePolicy } from './locality.ts';

/** What a policy is made with where it is named, as on the command line. */
export interface PolicySetting {
  /** What moves and steps cost: for policies that need it. */
  readonly cost?: AdaptiveCostModel | CostModel | undefined;
  /** At most so many moves beyond those that have to be. */
  readonly maxMoves?: number | undefined;
  /** The level of failures that as much load as can is to survive. */
  readonly survive?: string | undefined;
  /** Which copies tokens take: a policy that plans for 'even' alone does so whatever is said here. */
  readonly dispatch?: Dispatch | undefined;
}

/** A policy of this library, by name. */
interface PolicyRow {
  readonly name: string;
  make(setting: PolicySetting): AbstractEplbPolicy;
}

/** The policies of this library: a further one adds its row here. */
const POLICIES: readonly PolicyRow[] = [
  { name: 'default', make: () => new DefaultEplbPolicy() },
  // What links cost is in no seconds: by what a cost says of moves they would be judged in another unit.
  {
    name: 'locality',
    make: ({ maxMoves, survive }) => new LocalityAwarePolicy(given({ maxMoves, survive })),
  },
  { name: 'adaptive', make: (setting) => new AdaptiveEplbPolicy(given(setting)) },
];

/** What a setting says. */
function given(setting: PolicySetting): AdaptiveEplbPolicyOptions {
  return Object.fromEntries(Object.entries(setting).filter(([, value]) => value !== undefined));
}

/** The names of this library's policies. */
export const POLICY_NAMES: readonly string[] = POLICIES.map(({ name }) => name);

/** A new policy of this library; undefined when none is called so. */
export function makePolicy(name: string, setting: PolicySetting = {}): AbstractEplbPolicy | undefined {
  return POLICIES.find((row) => row.name === name)?.make(setting);
}
