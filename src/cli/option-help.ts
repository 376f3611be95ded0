// Help of options that several commands have.

export const RECORDING_HELP =
  '- for standard input; recorded loads, or routes [tokens, layers, topK] (with --experts): a file or a directory of any format ' +
  'that ' +
  'eplb formats lists';

export const SLOTS_PER_RANK_HELP =
  'slots of each rank that may hold an expert, such as 5,5,4,5; the others stay empty. All of them when ' +
  'left out';

export const FIRST_LAYER_HELP =
  "the model's number of the first MoE layer: SGLang and TensorRT-LLM count those before it";

export const DENSE_ROWS_HELP = 'rows of dense layers at the beginning of an SGLang placement: left out';
