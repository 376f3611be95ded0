import { checkText } from './checks.ts';
import { EplbRangeError } from './errors.ts';
import { nodesOfRanks } from './nodes.ts';
import { printable } from './printable.ts';
import type { Topology } from './topology.ts';

// What fails together: a rank, a node, or what a topology names besides.

type Ranks = Pick<Topology, 'numRanks' | 'numNodes' | 'nodeOfRank' | 'failureDomains'>;

/**
 * Int32Array[ranks]: the failure domain of each rank, numbered from 0 on; not every number need be taken.
 *
 * @param level 'rank', 'node', or a name of `topology.failureDomains`
 * @param title what the level is called in a message
 * @throws EplbTypeError `EPLB_KIND`; EplbRangeError `EPLB_RANGE` for a level that the topology does not have
 */
export function domainsOfRanks(topology: Ranks, level: unknown, title = 'level'): Int32Array {
  const name = checkText(title, level);
  if (name === 'rank') return Int32Array.from({ length: topology.numRanks }, (_, rank) => rank);
  if (name === 'node') return nodesOfRanks(topology);
  const { failureDomains = {} } = topology;
  if (Object.hasOwn(failureDomains, name)) return Int32Array.from(failureDomains[name]!);
  const known = ['rank', 'node', ...Object.keys(failureDomains)].map(printable).join(', ');
  throw new EplbRangeError(
    'EPLB_RANGE',
    `${title}: ${printable(JSON.stringify(name))} is not a level of what fails together; there are ${known}`,
  );
}
