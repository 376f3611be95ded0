import { EplbTypeError } from '../../core/errors.ts';
import { int32Npy } from '../write/npy.ts';
import { npzFile } from '../write/npz.ts';
import type { PlacementFormat } from './placement.ts';
import { TABLE_KEYS } from './table-names.ts';
import { namesPlacement, placementOf, readNamed, threeTablesOf } from './three-tables.ts';
import { wholeTable } from './whole-table.ts';

/** The three tables in one .npz. */
export const tablesNpz: PlacementFormat = {
  name: 'tables-npz',
  holds: 'placements',
  description: `the tables of DeepSeek EPLB or vLLM in one .npz: ${Object.values(TABLE_KEYS)
    .map(([name]) => name)
    .join(', ')}`,
  extensions: ['.npz'],
  recognise: (content) => content.container === 'npz' && namesPlacement((name) => content.arrays.has(name)),
  read: (content, name) => {
    if (content.container !== 'npz')
      throw new EplbTypeError(
        'EPLB_KIND',
        `${name}: is a ${content.container} file; these tables are a .npz file`,
      );
    const tables = readNamed((key) => content.arrays.get(key), name, wholeTable);
    return placementOf(tables, tablesNpz.name, name);
  },
  write: async (placement) => {
    const { phyToLog, logToPhy, replicaCount } = threeTablesOf(placement);
    return {
      bytes: await npzFile([
        [TABLE_KEYS.phyToLog[0], int32Npy(phyToLog.data, phyToLog.shape)],
        [TABLE_KEYS.logToPhy[0], int32Npy(logToPhy.data, logToPhy.shape)],
        [TABLE_KEYS.replicaCount[0], int32Npy(replicaCount.data, replicaCount.shape)],
      ]),
      notes: [],
    };
  },
};
