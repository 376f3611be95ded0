import { isList } from '../json/value.ts';
import { kindOf, quote } from '../text.ts';
import type { Content, KeyProblem } from './placement.ts';

/** The kinds of values that loaders ask for. */
type ValueKind = 'whole' | 'list' | 'map';

/** What a loader makes of the keys at one place of a file. */
interface PlaceRule {
  /** Names of maps and lists on the way there; `*` stands for every entry of a list. */
  readonly place: readonly string[];
  /** Without these it fails. */
  readonly needs: Readonly<Record<string, ValueKind>>;
  /** Those that only older releases need. */
  readonly neededBefore?: Readonly<Record<string, ValueKind>>;
  /** What it reads where it is there. */
  readonly takes?: Readonly<Record<string, ValueKind>>;
  /** Whether it fails at any other key, or does not look at it. */
  readonly others: 'refused' | 'ignored';
}

/** An engine's loader of placements, as its source has it. */
interface Loader {
  readonly source: string;
  /** Which releases are the older ones. */
  readonly before?: string;
  readonly rules: readonly PlaceRule[];
}

/**
 * The keys that each engine's loader needs, reads, ignores and refuses, by the format of its files, from the
 * loaders' own sources. Arrays have no keys: for what engines ask of the table itself see engines.ts.
 */
export const LOADERS: Readonly<Record<string, Loader>> = {
  sglang: {
    // init_by_mapping(server_args, model_config, **data_dict): any other key is an unexpected argument.
    source: 'sgl-project/sglang: python/sglang/srt/eplb/expert_location.py',
    rules: [{ place: [], needs: { physical_to_logical_map: 'list' }, others: 'refused' }],
  },
  'vllm-ascend': {
    // expert_file_to_tensor(), and ExpertLoadBalancer of vllm_ascend/ops before it.
    source: 'vllm-project/vllm-ascend: vllm_ascend/eplb/core/eplb_utils.py',
    before: 'with vllm_ascend/ops/expert_load_balancer.py',
    rules: [
      { place: [], needs: { moe_layer_count: 'whole', layer_list: 'list' }, others: 'ignored' },
      {
        place: ['layer_list', '0'],
        needs: {},
        neededBefore: { device_count: 'whole' },
        others: 'ignored',
      },
      { place: ['layer_list', '*'], needs: { device_list: 'list' }, others: 'ignored' },
      { place: ['layer_list', '*', 'device_list', '*'], needs: { device_expert: 'list' }, others: 'ignored' },
    ],
  },
  'tensorrt-llm': {
    // MoeLoadBalancerConfig is a StrictBaseModel, which forbids other fields; setup() raises without
    // num_slots.
    source: 'NVIDIA/TensorRT-LLM: tensorrt_llm/llmapi/llm_args.py',
    rules: [
      {
        place: [],
        needs: { num_slots: 'whole' },
        takes: { initial_global_assignments: 'map', layer_updates_per_iter: 'whole' },
        others: 'refused',
      },
    ],
  },
  'vllm-mapping': {
    // _load_initial_mapping() of the proposal: the counts have to be the model's.
    source: 'vllm-project/vllm: pull request 41141, vllm/distributed/eplb/eplb_state.py',
    rules: [
      {
        place: [],
        needs: { num_redundant_experts: 'whole', num_slots: 'whole', initial_global_assignments: 'map' },
        takes: { version: 'whole' },
        others: 'ignored',
      },
    ],
  },
};

/** Problems of a kind that are named; the others are counted. */
const MOST_NAMED = 3;

/**
 * What the loader that a format's files are for would find wrong with their keys.
 *
 * @param format - name of the format
 */
export function keyProblemsOf(format: string, content: Content): KeyProblem[] {
  const loader = LOADERS[format];
  if (loader === undefined || !('value' in content)) return [];
  const problems: KeyProblem[] = [];
  for (const rule of loader.rules) {
    const found = new Found(problems);
    visit(content.value, rule.place, '', (map, path) => check(rule, map, path, found, loader.before));
    found.close();
  }
  return problems;
}

/** Collects what is wrong at places of a kind. */
class Found {
  readonly #problems: KeyProblem[];
  #count = 0;

  constructor(problems: KeyProblem[]) {
    this.#problems = problems;
  }

  add(text: string, isSure: boolean): void {
    if (this.#count++ < MOST_NAMED) this.#problems.push({ text, isSure });
  }

  close(): void {
    const more = this.#count - MOST_NAMED;
    if (more > 0) this.#problems.push({ text: `${more} more keys of this kind`, isSure: true });
  }
}

type Fields = Readonly<Record<string, unknown>>;

function isMap(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !isList(value);
}

/** Calls `take` for each map at a place of a file. */
function visit(
  value: unknown,
  place: readonly string[],
  path: string,
  take: (map: Fields, path: string) => void,
): void {
  const [step, ...rest] = place;
  if (step === undefined) {
    if (isMap(value)) take(value, path);
  } else if (isList(value)) {
    for (let i = 0; i < value.length; i++) {
      if (step === '*' || Number(step) === i) visit(value[i], rest, `${path}[${i}]`, take);
    }
  } else if (isMap(value) && Object.hasOwn(value, step)) {
    visit(value[step], rest, path === '' ? step : `${path}.${step}`, take);
  }
}

function check(rule: PlaceRule, map: Fields, path: string, found: Found, before: string | undefined): void {
  const named = (key: string) => (path === '' ? key : `${path}.${key}`);
  const { needs, neededBefore = {}, takes = {} } = rule;
  for (const [key, kind] of Object.entries({ ...needs, ...neededBefore, ...takes })) {
    const isOlder = Object.hasOwn(neededBefore, key);
    const whose = isOlder ? `, which releases ${before} need` : ', which it needs';
    if (!Object.hasOwn(map, key)) {
      if (!Object.hasOwn(takes, key)) found.add(`no ${named(key)}${whose}`, !isOlder);
    } else if (!isOf(kind, map[key])) {
      found.add(`${named(key)} is ${kindOf(map[key])}; it must be a ${WORDS[kind]}`, true);
    }
  }
  if (rule.others === 'ignored') return;
  for (const key of Object.keys(map)) {
    if (Object.hasOwn(needs, key) || Object.hasOwn(takes, key)) continue;
    found.add(`the key ${quote(named(key))}, which it does not know and refuses`, true);
  }
}

const WORDS: Readonly<Record<ValueKind, string>> = {
  whole: 'whole number',
  list: 'list',
  map: 'map',
};

function isOf(kind: ValueKind, value: unknown): boolean {
  if (kind === 'list') return isList(value) || isTensor(value);
  if (kind === 'map') return isMap(value);
  return Number.isSafeInteger(value);
}

/** What torch.save files hold where text has lists. */
function isTensor(value: unknown): boolean {
  return isMap(value) && Object.hasOwn(value, 'shape');
}
