import { createHmac } from 'node:crypto';

/** What the token of a group is not enough for, beside all that is outside of the group. */
export const RANKS_MAY_NOT: readonly string[] = ['declareGroup', 'removeGroup', 'getGroupToken'];

/** The token of a group: it follows from that of the service, which it does not give away. */
export function groupTokenOf(token: string, group: string): string {
  return createHmac('sha256', token).update(`eplb-serve group ${group}`).digest('hex');
}
