import type { Command } from 'commander';
import { EplbRangeError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { bytes, counted } from '../../formats/number-text.ts';
import { quotePath } from '../../formats/text.ts';
import { npyHeader } from '../../formats/write/npy.ts';
import {
  MODEL_SHAPES,
  modelShape,
  SYNTH_DEFAULTS,
  type SyntheticLoads,
  type SynthOptions,
  synthesize,
} from '../../replay/index.ts';
import { sayingErrors } from '../error-message.ts';
import { addHelpTexts } from '../help.ts';
import { addJsonOption, type JsonOption, jsonPath, writeResult } from '../json-option.ts';
import { numberParser, wholeParser } from '../option-values.ts';
import { checkOutputs, writeOutput } from '../output-file.ts';
import { Progress } from '../progress.ts';
import { STANDARD } from '../standard-streams.ts';

interface SynthCommandOptions
  extends Pick<SynthOptions, 'numSteps' | 'seed' | 'skew' | 'burst' | 'burstGain' | 'drift' | 'domains'> {
  readonly model?: string;
  readonly layers?: number;
  readonly experts?: number;
  readonly topK?: number;
  readonly tokensPerStep: number;
  readonly blend: number;
  readonly output: string;
  readonly json?: JsonOption;
}

/** Gives the subcommand its options, help and action. */
export function configure(command: Command): void {
  const models = MODEL_SHAPES.map(({ name }) => name).join(', ');
  const { numSteps, tokensPerStep, seed, skew, burst, burstGain, drift, domains, blendSteps } =
    SYNTH_DEFAULTS;
  addJsonOption(command)
    .option('--model <M>', `take layers, experts and topK of ${models}`)
    .option('--layers <N>', 'layers with experts', wholeParser('--layers', 1))
    .option('--experts <N>', 'logical experts a layer', wholeParser('--experts', 1))
    .option('--top-k <N>', 'experts that a token is routed to in a layer', wholeParser('--top-k', 1))
    .option('--num-steps <N>', 'steps to make', wholeParser('--num-steps', 1), numSteps)
    .option('--tokens-per-step <N>', 'tokens of a step', wholeParser('--tokens-per-step', 1), tokensPerStep)
    .option('--seed <N>', 'the same seed gives the same file', wholeParser('--seed', 0, 2 ** 32 - 1), seed)
    .option(
      '--skew <X>',
      'unevenness of popularity, exp(X x normal); 0: none',
      numberParser('--skew', 0),
      skew,
    )
    .option('--burst <X>', 'share of experts that burst in a step', numberParser('--burst', 0, 1), burst)
    .option(
      '--burst-gain <X>',
      'times their popularity that they burst to',
      numberParser('--burst-gain', 0),
      burstGain,
    )
    .option('--drift <X>', 'how far popularity wanders a step, 0 to 1', numberParser('--drift', 0, 1), drift)
    .option('--domains <N>', 'domains that follow one another', wholeParser('--domains', 1), domains)
    .option(
      '--blend <N>',
      'steps that one domain takes to pass into the next',
      wholeParser('--blend', 0),
      blendSteps,
    )
    .requiredOption(
      '-o, --output <file>',
      'the .npy file to write, or - for standard output: int32 [steps, layers, experts]',
    )
    .action(run);
  addHelpTexts(command, {
    examples: [
      ['eplb synth --model deepseek-v3 --num-steps 64 -o loads.npy', "a model's shape"],
      [
        'eplb synth --layers 4 --experts 64 --top-k 6 --skew 1.5 --drift 0.1 -o loads.npy',
        'a shape of your own',
      ],
    ],
  });
}

async function run(options: SynthCommandOptions): Promise<void> {
  const outputs = await checkOutputs({ '--output': options.output, '--json': jsonPath(options.json) }, []);
  const output = outputs.get('--output')!;
  checkName(output.path);
  const source = sayingErrors(withOption, () => synthesize(synthOptions(options)));
  const { numLayers, numExperts, numSteps } = source.options;
  const progress = new Progress(process.stderr);
  progress.begin('making', numSteps, 'steps');
  try {
    await writeOutput(
      output,
      npyChunks(source, (done) => progress.update(done)),
    );
  } finally {
    progress.stop();
  }
  const numBytes = 128 + 4 * numSteps * numLayers * numExperts;
  const report = {
    kind: 'synth-report',
    formatVersion: 1,
    path: output.path,
    format: 'npy',
    bytes: numBytes,
    options: source.options,
  };
  const sizes =
    `${counted(numSteps, 'step')} x ${counted(numLayers, 'layer')} x ` + `${counted(numExperts, 'expert')}`;
  await writeResult(
    outputs.get('--json'),
    report,
    () => ` written  ${printable(output.path)}: ${sizes}, int32, ${bytes(numBytes)}\n`,
  );
}

/** @throws EplbRangeError EPLB_OPTION for a name that asks for what is not written */
function checkName(path: string): void {
  if (path === STANDARD || path.toLowerCase().endsWith('.npy')) return;
  const message = `--output: ${quotePath(path)} does not end in .npy, which is written; eplb convert writes others`;
  throw new EplbRangeError('EPLB_OPTION', message);
}

/** The options, their shape taken from the model where one is named. */
function synthOptions(options: SynthCommandOptions): SynthOptions {
  const { model, layers, experts, topK, blend, output: _, json: __, ...rest } = options;
  const shape = model === undefined ? undefined : modelOf(model);
  const numLayers = layers ?? shape?.numLayers;
  const numExperts = experts ?? shape?.numExperts;
  const numPicked = topK ?? shape?.topK;
  if (numLayers === undefined || numExperts === undefined || numPicked === undefined) {
    const sizes = { '--layers': numLayers, '--experts': numExperts, '--top-k': numPicked };
    const missing = Object.entries(sizes).flatMap(([option, value]) => (value === undefined ? [option] : []));
    throw new EplbRangeError('EPLB_OPTION', `${missing.join(', ')}: needed where no --model is given`);
  }
  return {
    ...rest,
    numLayers,
    numExperts,
    topK: numPicked,
    blendSteps: blend,
  };
}

function modelOf(name: string) {
  return sayingErrors(
    (message) => `--${message}`,
    () => modelShape(name),
  );
}

/** The options of the command in place of those of the library, in messages. */
const OPTION_OF: Readonly<Record<string, string>> = {
  topK: '--top-k',
  domains: '--domains',
  numSteps: '--num-steps',
};

/** A message of the library that names the command's option. */
function withOption(message: string): string {
  return message.replace(/^(\w+):/, (all, name: string) => {
    const option = OPTION_OF[name];
    return option === undefined ? all : `${option}:`;
  });
}

async function* npyChunks(
  source: SyntheticLoads,
  onStep: (done: number) => void,
): AsyncGenerator<Uint8Array> {
  const { numSteps, numLayers, numExperts } = source.options;
  yield npyHeader('<i4', [numSteps, numLayers, numExperts]);
  for await (const { step, loads } of source.steps()) {
    const bytesOfStep = new Uint8Array(4 * loads.length);
    const view = new DataView(bytesOfStep.buffer);
    for (let i = 0; i < loads.length; i++) view.setInt32(4 * i, loads[i]!, true);
    onStep(step + 1);
    yield bytesOfStep;
  }
}
