import { checkTopology } from '../core/check-topology.ts';
import { EplbRangeError } from '../core/errors.ts';
import type { Topology } from '../core/topology.ts';
import type { AbstractEplbPolicy } from '../index.ts';
import { checkPlannable } from '../policy/plannable.ts';
import type { PlacedDevices } from './device-options.ts';
import { SIZES, sayingErrors, sizeInOptions } from './error-message.ts';

/** Fields of a topology file. */
const OF_FILE = /^(?=(?:rankSpeed|deadRanks|nodeOfRank|failureDomains|linkClasses|slotsPerRank)\b)/;

/** What rules of a file are called. */
const OF_RULES = /^rules(?:: |\.)/;

/**
 * The topology of a recording's layers and experts on the devices that options and a file name: as these say
 * it, and checked.
 *
 * @param policy what is to plan it; a module's tells only when it plans
 * @returns `topology` as the library has it, and `given` with the slots as they were given
 * @throws EplbRangeError EPLB_TOPOLOGY, EPLB_SHAPE or EPLB_RANGE, naming the option
 */
export function topologyFrom(
  { numLayers, numLogicalExperts }: Pick<Topology, 'numLayers' | 'numLogicalExperts'>,
  { slots, ranks, nodes, groups, rankOptions, source }: PlacedDevices,
  policy?: AbstractEplbPolicy | URL,
): Topology {
  if (slots < numLogicalExperts) {
    throw new EplbRangeError(
      'EPLB_TOPOLOGY',
      `--slots: ${slots} is less than the ${numLogicalExperts} logical experts; every expert needs a slot`,
    );
  }
  const given = {
    numLayers,
    numLogicalExperts,
    numPhysicalExperts: slots,
    numRanks: ranks,
    numNodes: nodes,
    numGroups: groups,
    ...rankOptions,
  };
  const request = policy === undefined || policy instanceof URL ? undefined : policy.kernelRequest();
  return sayingErrors(
    (message) => inOptions(message, source),
    () => {
      const topology = checkTopology(given);
      const title = source === '--topology' ? 'slotsPerRank' : source;
      checkPlannable(request, topology, { numSlots: slots, title });
      return topology;
    },
  );
}

/** What the library says of rules, in the words of options. */
export function rulesInOptions(message: string): string {
  return message.replace(OF_RULES, '--rules: ');
}

/** What the library says, in the words of options. */
export function inOptions(message: string, source: PlacedDevices['source']): string {
  return rulesInOptions(message)
    .replace(
      /^numLogicalExperts: (\d+) is not a multiple of numGroups (\d+)/,
      '--groups: $2 does not divide the $1 logical experts evenly',
    )
    .replace(/^slotsPerRank(?=:)/, (name) => (source === '--topology' ? name : source))
    .replace(OF_FILE, '--topology: ')
    .replace(SIZES, sizeInOptions);
}
