import { channel } from 'node:diagnostics_channel';

/** A plan was made, or kept from being made. */
export interface PlanEvent {
  readonly group: string;
  readonly status: 'planned' | 'kept' | 'failed';
  /** Why nothing changes, or the code of what failed. */
  readonly reason?: string;
  readonly epoch: number;
  readonly seconds: number;
  readonly moves: number;
  readonly bytes: number;
}

/** A mapping went live. */
export interface CommitEvent {
  readonly group: string;
  readonly epoch: number;
  readonly digest: string;
  readonly moves: number;
}

/** A step of loads was recorded. */
export interface LoadEvent {
  readonly group: string;
  readonly numSteps: number;
}

/** A request was refused. */
export interface RefusalEvent {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

/**
 * The names of the channels of `node:diagnostics_channel` on which this package tells what happens: with a
 * {@link PlanEvent}, a {@link CommitEvent}, a {@link LoadEvent} and a {@link RefusalEvent}.
 *
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
} as const;

interface Events {
  plan: PlanEvent;
  commit: CommitEvent;
  load: LoadEvent;
  refusal: RefusalEvent;
}

/** Tells it to who listens; nothing is made when nobody does. */
export function tell<K extends keyof Events>(name: K, make: () => Events[K]): void {
  const own = channel(CHANNELS[name]);
  if (own.hasSubscribers) own.publish(make());
}
