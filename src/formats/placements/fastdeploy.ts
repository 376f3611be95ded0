import { EplbTypeError } from '../../core/errors.ts';
import type { Content, PlacementFormat } from './placement.ts';
import { tablesJson } from './tables-json.ts';
import { placementOf, threeTablesOf } from './three-tables.ts';
import { nestedTable, rowsOf } from './whole-table.ts';

const SLOTS_KEY = 'ep_rank_to_expert_id_list';
const PLACES_KEY = 'expert_id_to_ep_rank_array';
const COUNTS_KEY = 'expert_in_rank_num_list';

/** What FastDeploy writes when it rearranges experts: DeepSeek's three tables under names of its own. */
export const fastDeploy: PlacementFormat = {
  name: 'fastdeploy',
  holds: 'placements',
  description: `FastDeploy rearrange-experts.json: ${SLOTS_KEY}, ${PLACES_KEY}, ${COUNTS_KEY}`,
  extensions: ['rearrange-experts.json'],
  recognise: (content) => tablesIn(content) !== undefined,
  read: (content, name) => {
    const tables = tablesIn(content);
    if (tables === undefined) throw new EplbTypeError('EPLB_KIND', `${name}: it has no ${SLOTS_KEY}`);
    // A row that is not told is null.
    const table = (key: string, depth: number) =>
      Object.hasOwn(tables, key) && tables[key] !== null
        ? nestedTable(tables[key], [depth], `${name}: ${key}`)
        : undefined;
    const phyToLog = nestedTable(tables[SLOTS_KEY], [2], `${name}: ${SLOTS_KEY}`);
    const logToPhy = table(PLACES_KEY, 3);
    const replicaCount = table(COUNTS_KEY, 2);
    const given = {
      phyToLog,
      ...(logToPhy === undefined ? {} : { logToPhy }),
      ...(replicaCount === undefined ? {} : { replicaCount }),
    };
    return placementOf(given, fastDeploy.name, name);
  },
  write: async (placement) => {
    const { phyToLog, replicaCount } = threeTablesOf(placement);
    const { bytes } = await tablesJson.write(placement, {});
    const { logical_to_physical_map } = JSON.parse(new TextDecoder().decode(bytes)) as {
      logical_to_physical_map: number[][][];
    };
    const width = Math.max(...logical_to_physical_map.flat().map(({ length }) => length));
    const padded = logical_to_physical_map.map((layer) =>
      layer.map((slots) => [...slots, ...new Array<number>(width - slots.length).fill(-1)]),
    );
    const file = {
      [SLOTS_KEY]: rowsOf(phyToLog.data, placement.numPhysicalExperts),
      [PLACES_KEY]: padded,
      [COUNTS_KEY]: rowsOf(replicaCount.data, placement.numLogicalExperts),
    };
    return { bytes: new TextEncoder().encode(`${JSON.stringify(file)}\n`), notes: [] };
  },
};

function tablesIn(content: Content): Record<string, unknown> | undefined {
  if (content.container !== 'json') return undefined;
  const { value } = content;
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, SLOTS_KEY)) return undefined;
  return value as Record<string, unknown>;
}
