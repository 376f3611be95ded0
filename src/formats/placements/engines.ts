import { grouped } from '../number-text.ts';
import type { Occurrence, PlacementFacts } from './inspect.ts';

/** What an engine makes of a placement. */
export interface EngineVerdict {
  readonly engine: string;
  /** `unknown` when something that would decide is not known, such as the number of ranks. */
  readonly takes: 'yes' | 'no' | 'unknown';
  /** Why not, or what is not known. */
  readonly problems: readonly string[];
  /** What it takes, but not as one may think. */
  readonly warnings: readonly string[];
}

/** An engine's rules, each from its source. */
interface Engine {
  readonly name: string;
  judge(facts: PlacementFacts, say: Verdict): void;
}

/** Collects what an engine says. */
class Verdict {
  readonly problems: string[] = [];
  readonly unknown: string[] = [];
  readonly warnings: string[] = [];

  /** Something that the engine does not take. */
  refuse(text: string | false | undefined): void {
    if (text) this.problems.push(text);
  }

  warn(text: string | false | undefined): void {
    if (text) this.warnings.push(text);
  }

  taken(engine: string): EngineVerdict {
    const takes = this.problems.length > 0 ? 'no' : this.unknown.length > 0 ? 'unknown' : 'yes';
    return { engine, takes, problems: [...this.problems, ...this.unknown], warnings: this.warnings };
  }
}

/** What every engine asks for. */
function judgeCommon(facts: PlacementFacts, say: Verdict): void {
  const { numRanks, slotsPerRank, numPhysicalExperts, numLogicalExperts } = facts;
  say.refuse(told(facts.missing, 'experts without a slot'));
  say.refuse(
    told(facts.outside, `slots that hold something else than the experts 0 to ${numLogicalExperts - 1}`),
  );
  say.refuse(facts.disagreement !== undefined && `the tables disagree: ${facts.disagreement}`);
  if (numRanks === undefined) say.unknown.push('the ranks are not known: give --ranks');
  else if (slotsPerRank === undefined) {
    say.refuse(`${numPhysicalExperts} slots are not a multiple of ${numRanks} ranks`);
  }
}

/** Replicas that vLLM's table of an expert's slots has room for, and redundant experts: eplb_state.py. */
const VLLM_MOST_REDUNDANT = 1023;

const ENGINES: readonly Engine[] = [
  {
    // expert_location.py: -1 would count as a slot of the last expert, and num_layers is the model's.
    name: 'sglang',
    judge: (facts, say) => {
      say.refuse(told(facts.empty, 'empty slots, which SGLang takes for the last expert'));
      say.warn(told(facts.duplicates, 'slots that repeat an expert of their rank, which balances nothing'));
      const dense = facts.layerNumbers?.[0] ?? 0;
      if (dense === 0) return;
      const rows =
        `no rows for the ${dense} layers of the model before, and SGLang looks rows up by the ` +
        `model's number`;
      if (facts.format === 'sglang') say.refuse(rows);
      else say.warn(`${rows}: convert --to sglang puts them in`);
    },
  },
  {
    // eplb_utils.py, ops/expert_load_balancer.py: lists become one tensor, and an expert has one place on a
    // rank.
    name: 'vllm-ascend',
    judge: (facts, say) => {
      say.refuse(told(facts.empty, 'empty slots, while vllm-ascend wants as many experts on every device'));
      say.refuse(
        told(facts.duplicates, 'slots that repeat an expert of their rank, which has one place for it'),
      );
    },
  },
  {
    // fused_moe: assert set(assignments) == set(range(num_experts)); llm_args.py: KeyError for a layer that
    // is missing.
    name: 'tensorrt-llm',
    judge: (facts, say) => {
      say.refuse(told(facts.empty, 'empty slots, which TensorRT-LLM does not know'));
      say.warn(told(facts.duplicates, 'slots that repeat an expert of their rank, which balances nothing'));
      const { layerNumbers: numbers, numLayers } = facts;
      say.warn(
        numbers === undefined &&
          'layers are counted from 0 here, from the first layer of the model there: convert with ' +
            '--first-layer',
      );
      say.warn(
        numbers !== undefined &&
          numbers.at(-1)! - numbers[0]! !== numLayers - 1 &&
          `layers ${numbers[0]} to ${numbers.at(-1)} have gaps: every layer with experts has to be there`,
      );
    },
  },
  {
    // expert_mapping.py: the shape has to be (world size, MoE layers, experts); it warns when hosts of 8 do
    // not divide.
    name: 'omni-infer',
    judge: (facts, say) => {
      say.refuse(
        told(facts.duplicates, 'slots that repeat an expert of their rank, which a pattern cannot say'),
      );
      say.warn(
        facts.numRanks !== undefined &&
          facts.numRanks % 8 !== 0 &&
          `${facts.numRanks} ranks are not whole hosts of 8`,
      );
    },
  },
  {
    // eplb_state.py: asserts the redundant experts, and holds up to 1,024 slots of an expert.
    name: 'vllm',
    judge: (facts, say) => {
      const redundant = facts.numPhysicalExperts - facts.numLogicalExperts;
      say.refuse(told(facts.empty, 'empty slots, while vLLM fills every slot'));
      say.refuse(
        redundant > VLLM_MOST_REDUNDANT &&
          `${redundant} redundant experts, vLLM has room for ${VLLM_MOST_REDUNDANT}`,
      );
      say.warn(told(facts.duplicates, 'slots that repeat an expert of their rank, which balances nothing'));
    },
  },
];

/** Names of the engines that are judged for. */
export const ENGINE_NAMES: readonly string[] = ENGINES.map(({ name }) => name);

/** What each engine makes of a placement. */
export function judgePlacement(facts: PlacementFacts): EngineVerdict[] {
  return ENGINES.map((engine) => {
    const say = new Verdict();
    judgeCommon(facts, say);
    if (engine.name === engineOf(facts.format)) {
      for (const { text, isSure } of facts.keyProblems) (isSure ? say.problems : say.unknown).push(text);
    }
    engine.judge(facts, say);
    return say.taken(engine.name);
  });
}

/** The engine that a format's files are for. */
export function engineOf(format: string): string {
  return ENGINE_NAMES.includes(format) ? format : 'vllm';
}

function told(occurrence: Occurrence | undefined, what: string): string | undefined {
  if (occurrence === undefined) return undefined;
  const { count, first } = occurrence;
  return `${what}: ${grouped(count)} (first ${first})`;
}
