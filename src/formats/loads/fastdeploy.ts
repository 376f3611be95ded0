import type { LoadFormat } from '../format.ts';
import { jsonOutlineOf } from '../recognise.ts';
import { openNested } from './json.ts';
import { oneByOne } from './one-by-one.ts';

const LOADS_KEY = 'tokens_per_expert_stats_list';

/** What FastDeploy dumps when it rearranges experts: the tokens of each expert, summed over all ranks. */
export const FASTDEPLOY_STATS: LoadFormat = {
  name: 'fastdeploy-stats',
  holds: 'loads',
  description: `FastDeploy rearrange-experts.json: {"${LOADS_KEY}": [all layers of the model][experts]}`,
  extensions: [],
  recognise: async (file) => (await jsonOutlineOf(file))?.fields.has(LOADS_KEY) === true,
  open: oneByOne((file, options) => openNested(file, LOADS_KEY, 'fastdeploy-stats', options)),
};
