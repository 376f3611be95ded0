import type { Channel } from 'node:diagnostics_channel';
import { isOwnError } from './errors.ts';
import { loadBuiltin } from './load-builtin.ts';

/** Of which balancer, or which group of a service, an event tells. */
export interface GroupEvent {
  /** The balancer's `name`, or the group's. */
  readonly group: string;
  /** The number of the live mapping: the balancer's `generation`, or the service's epoch. */
  readonly epoch: number;
}

/** A plan was made, or kept from being made. */
export interface PlanEvent extends GroupEvent {
  readonly status: 'planned' | 'kept' | 'failed';
  /** Why nothing changes, or the code of what failed. */
  readonly reason?: string;
  /** From the question to the plan; 0 where nothing was planned. */
  readonly seconds: number;
  /** From the live mapping. */
  readonly moves: number;
  /** Of these moves; 0 where the policy does not know. */
  readonly bytes: number;
}

/** A mapping went live. */
export interface CommitEvent extends GroupEvent {
  readonly digest: string;
  readonly moves: number;
}

/** A step of loads was recorded. */
export interface LoadEvent extends GroupEvent {
  /** That were ever recorded. */
  readonly numSteps: number;
}

/** What was asked for was refused, and nothing changed: a commit of a balancer, a request to a service. */
export interface RefusalEvent extends Partial<GroupEvent> {
  /** Of the answer to a request. */
  readonly status?: number;
  readonly code: string;
  readonly message: string;
}

/** Ranks died, came back, changed their speed, were added or taken away; the live mapping was repaired. */
export interface TopologyEvent extends GroupEvent {
  readonly numRanks: number;
  readonly deadRanks: readonly number[];
  /** Weights that have to be loaded from a host or a disk. */
  readonly hostLoads: number;
}

/** Weights move to a new mapping, or what became of that. */
export interface MigrationStatusEvent extends GroupEvent {
  readonly status: 'begun' | 'active' | 'fenced' | 'aborted';
  readonly reason?: string;
  /** Since it began; 0 then. */
  readonly seconds: number;
}

/** The watchdog found that something is not so any more, or is so again. */
export interface ConditionEvent extends GroupEvent {
  /** A `ConditionType`. */
  readonly type: string;
  readonly status: boolean;
  readonly reason: string;
}

/** The message of each channel. */
export interface EplbEvents {
  plan: PlanEvent;
  commit: CommitEvent;
  load: LoadEvent;
  refusal: RefusalEvent;
  topology: TopologyEvent;
  migration: MigrationStatusEvent;
  condition: ConditionEvent;
}

/**
 * The names of the channels of `node:diagnostics_channel` on which this package publishes events. A message
 * is built only if somebody has subscribed; {@link EplbEvents} has the type of each.
 * @example
 * ```ts
 * import { subscribe } from 'node:diagnostics_channel';
 * subscribe(CHANNELS.commit, (event) => console.log(event));
 * ```
 */
export const CHANNELS = {
  plan: 'expert-load-balancer:plan',
  commit: 'expert-load-balancer:commit',
  load: 'expert-load-balancer:load',
  refusal: 'expert-load-balancer:refusal',
  topology: 'expert-load-balancer:topology',
  migration: 'expert-load-balancer:migration',
  condition: 'expert-load-balancer:condition',
} as const;

let open: ReadonlyMap<string, Channel> | undefined;

/** Held, as Node forgets a channel that nobody holds, and a lookup for each step would cost more. */
function openChannels(): ReadonlyMap<string, Channel> {
  const { channel } = loadBuiltin('node:diagnostics_channel') as typeof import('node:diagnostics_channel');
  return new Map(Object.values(CHANNELS).map((name) => [name, channel(name)]));
}

/** Tells it to who has subscribed; nothing is made when nobody has. */
export function tell<K extends keyof EplbEvents>(name: K, make: () => EplbEvents[K]): void {
  open ??= openChannels();
  const own = open.get(CHANNELS[name])!;
  if (own.hasSubscribers) own.publish(make());
}

/** The code of what was thrown. */
export function codeOf(error: unknown): string {
  return isOwnError(error) ? error.code : 'EPLB_INTERNAL';
}

/** Hears the events of one balancer. */
export type EventListener = <K extends keyof EplbEvents>(name: K, event: EplbEvents[K]) => void;

/** Tells of one balancer: on the channels, and to who watches this one. */
export class EventTeller {
  /** What the events call it. */
  readonly group: string;
  readonly listeners = new Set<EventListener>();
  /** Whether its owner tells of it, and not the balancer itself. */
  isMuted = false;

  constructor(group: string) {
    this.group = group;
  }

  tell<K extends keyof EplbEvents>(name: K, make: () => EplbEvents[K]): void {
    if (this.isMuted) return;
    if (this.listeners.size === 0) {
      tell(name, make);
      return;
    }
    const event = make();
    for (const listener of this.listeners) listener(name, event);
    tell(name, () => event);
  }
}
