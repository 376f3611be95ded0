import { isOwnError } from '../../core/errors.ts';
import type { DashboardView, OverviewView } from '../../serve/dashboard/view.ts';
import type { ServiceClient } from '../service/client.ts';
import type { TopSnapshot } from './frame.ts';

/** Groups that are shown one by one where none is named. */
const MOST_GROUPS = 32;

/**
 * Asks a service how its groups stand, or one of them.
 *
 * @throws EplbError `EPLB_UNREACHABLE`, and what the service refuses
 */
export async function askTop(
  client: ServiceClient,
  url: string,
  group: string | undefined,
): Promise<TopSnapshot> {
  const one = (name: string) =>
    client.ask<DashboardView>('GET', `/v1/groups/${encodeURIComponent(name)}/dashboard`);
  // The token of a group is good for that alone.
  if (group !== undefined) return { url, overview: undefined, groups: [await one(group)] };
  const overview = await client.ask<OverviewView>('GET', '/v1/dashboard');
  const views = await Promise.all(
    overview.groups.slice(0, MOST_GROUPS).map(({ group: name }) => one(name).catch(ofGone)),
  );
  return { url, overview, groups: views.filter((view) => view !== undefined) };
}

/** A group that was removed meanwhile. */
function ofGone(error: unknown): undefined {
  if (!isOwnError(error) || error.code !== 'EPLB_NOT_FOUND') throw error;
}
