import { checkAtLeast, checkObject, show } from '../core/checks.ts';
import { EplbError, EplbRangeError } from '../core/errors.ts';

/** How a model stores the weights of its routed experts. */
export type ExpertDtype = 'bf16' | 'fp8-block128' | 'mxfp4' | 'int4-group32';

/** The shape of a model's routed experts, as published. */
export interface ModelShape {
  readonly name: string;
  /** Layers with routed experts. */
  readonly numLayers: number;
  readonly numExperts: number;
  /** Routed experts of a token in a layer. */
  readonly topK: number;
  /** Width of what an expert reads and writes. */
  readonly hiddenSize: number;
  /** Width inside an expert. Each has three matrices of hiddenSize x expertSize: gate, up and down. */
  readonly expertSize: number;
  readonly dtype: ExpertDtype;
  /** Where the figures were published. */
  readonly source: string;
  /** What they leave out. */
  readonly note?: string;
}

/**
 * Bytes of one weight, scales included: a float32 for 128 x 128 fp8 weights; one byte for 32 fp4 weights (OCP
 * Microscaling Formats 1.0); two bytes for 32 int4 weights.
 */
export const BYTES_PER_WEIGHT: Readonly<Record<ExpertDtype, number>> = {
  bf16: 2,
  'fp8-block128': 1 + 4 / (128 * 128),
  mxfp4: 17 / 32,
  'int4-group32': 18 / 32,
};

/** The models whose shapes are known by name. */
export const MODEL_SHAPES: readonly ModelShape[] = [
  {
    name: 'deepseek-v3',
    numLayers: 58,
    numExperts: 256,
    topK: 8,
    hiddenSize: 7168,
    expertSize: 2048,
    dtype: 'fp8-block128',
    source:
      'config.json of deepseek-ai/DeepSeek-V3 (61 layers, the first 3 dense; fp8 in blocks of 128 x 128)',
  },
  {
    name: 'deepseek-v4-pro',
    numLayers: 61,
    numExperts: 384,
    topK: 6,
    hiddenSize: 7168,
    expertSize: 3072,
    dtype: 'mxfp4',
    source:
      'config.json of deepseek-ai/DeepSeek-V4-Pro (61 layers, none dense); fp4 experts: recipes.vllm.ai',
    note:
      'The first 3 layers choose experts by a hash of the token. Blocks of 32 are those of the V4 ' +
      'checkpoints that vLLM documents.',
  },
  {
    name: 'kimi-k2',
    numLayers: 60,
    numExperts: 384,
    topK: 8,
    hiddenSize: 7168,
    expertSize: 2048,
    dtype: 'fp8-block128',
    source:
      'config.json of moonshotai/Kimi-K2-Instruct (61 layers, the first dense; fp8 in blocks of 128 x 128)',
  },
  {
    name: 'kimi-k3',
    numLayers: 92,
    numExperts: 896,
    topK: 16,
    hiddenSize: 3584,
    expertSize: 3072,
    dtype: 'mxfp4',
    source:
      "config.json of moonshotai/Kimi-K3 and FlashInfer's page on its routed experts (93 layers, the " +
      'first dense)',
    note: 'The experts work on a latent of width 3,584 (routed_expert_hidden_size), half the hidden size.',
  },
  {
    name: 'glm-5',
    numLayers: 75,
    numExperts: 256,
    topK: 8,
    hiddenSize: 6144,
    expertSize: 2048,
    dtype: 'bf16',
    source:
      "Transformers' GlmMoeDsaConfig and NVIDIA Megatron Bridge's page on GLM-5 (78 layers, the first 3 " +
      'dense)',
    note: 'As zai-org/GLM-5 is published; an fp8 checkpoint has half the bytes.',
  },
  {
    name: 'qwen3-235b',
    numLayers: 94,
    numExperts: 128,
    topK: 8,
    hiddenSize: 4096,
    expertSize: 1536,
    dtype: 'bf16',
    source: 'config.json of Qwen/Qwen3-235B-A22B (94 layers, none dense)',
    note: 'As published; the fp8 checkpoint has half the bytes.',
  },
  {
    name: 'qwen3.5-397b',
    numLayers: 60,
    numExperts: 512,
    topK: 10,
    hiddenSize: 4096,
    expertSize: 1024,
    dtype: 'bf16',
    source:
      "the model's arguments in THUDM/slime, scripts/models/qwen3.5-397B-A17B.sh (60 layers, none dense)",
    note: 'As Qwen/Qwen3.5-397B-A17B is published; the fp8 checkpoint has half the bytes.',
  },
  {
    name: 'gpt-oss-120b',
    numLayers: 36,
    numExperts: 128,
    topK: 4,
    hiddenSize: 2880,
    expertSize: 2880,
    dtype: 'mxfp4',
    source:
      "config.json of openai/gpt-oss-120b, the defaults of Transformers' GptOssConfig (36 layers, none " +
      'dense)',
    note: 'Biases are left out.',
  },
  {
    name: 'deepseek-v2-lite',
    numLayers: 26,
    numExperts: 64,
    topK: 6,
    hiddenSize: 2048,
    expertSize: 1408,
    dtype: 'bf16',
    source: 'config.json of deepseek-ai/DeepSeek-V2-Lite (27 layers, the first dense)',
  },
];

/**
 * The shape of a model by its name in {@link MODEL_SHAPES}.
 *
 * @throws EplbError `EPLB_OPTION` for a name that is not there
 */
export function modelShape(name: string): ModelShape {
  const found = MODEL_SHAPES.find((shape) => shape.name === name);
  if (found !== undefined) return found;
  const names = MODEL_SHAPES.map((shape) => shape.name).join(', ');
  throw new EplbError('EPLB_OPTION', `model: ${show(name)} is not known; known are ${names}`);
}

/** The first model in {@link MODEL_SHAPES} with as many layers and experts, if there is one. */
export function shapeLike(sizes: {
  readonly numLayers: number;
  readonly numLogicalExperts: number;
}): ModelShape | undefined {
  checkObject('sizes', sizes);
  return MODEL_SHAPES.find(
    ({ numLayers, numExperts }) => numLayers === sizes.numLayers && numExperts === sizes.numLogicalExperts,
  );
}

/** Bytes of the weights of one expert of one layer. */
export function bytesPerExpert(shape: ModelShape): number {
  const { hiddenSize, expertSize, dtype } = checkModelShape(shape);
  return Math.round(3 * hiddenSize * expertSize * BYTES_PER_WEIGHT[dtype]);
}

/** Floating-point operations of one expert for one token: a multiplication and an addition a weight. */
export function flopsPerLoad(shape: ModelShape): number {
  const { hiddenSize, expertSize } = checkModelShape(shape);
  return 2 * 3 * hiddenSize * expertSize;
}

function checkModelShape(shape: ModelShape): ModelShape {
  const { hiddenSize, expertSize, dtype } = checkObject('shape', shape);
  checkAtLeast('shape.hiddenSize', hiddenSize, 1);
  checkAtLeast('shape.expertSize', expertSize, 1);
  if (typeof dtype === 'string' && Object.hasOwn(BYTES_PER_WEIGHT, dtype)) return shape;
  const known = Object.keys(BYTES_PER_WEIGHT).join(', ');
  throw new EplbRangeError('EPLB_RANGE', `shape.dtype: ${show(dtype)} is none of ${known}`);
}
