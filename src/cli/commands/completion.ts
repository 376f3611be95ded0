import { Argument, type Command } from 'commander';
import { EplbError } from '../../core/errors.ts';
import { ENGINE_NAMES } from '../../formats/placements/engines.ts';
import { FORMATS } from '../../formats/registry.ts';
import { quote } from '../../formats/text.ts';
import { POLICY_NAMES } from '../../policy/registry.ts';
import { MODEL_SHAPES } from '../../replay/index.ts';
import { completionCommands } from '../completion.ts';
import { completionScript, SHELLS } from '../completion-scripts.ts';
import { addHelpTexts } from '../help.ts';
import { writeContent } from '../terminal.ts';

/** Gives the subcommand its arguments, help and action. */
export function configure(command: Command): void {
  command
    .addArgument(new Argument('<shell>', SHELLS.join(', ')).choices(SHELLS).argParser(shellOf))
    .action((shell: (typeof SHELLS)[number]) => run(shell, command.parent?.commands ?? []));
  addHelpTexts(command, {
    examples: [
      ['source <(eplb completion bash)', 'in ~/.bashrc'],
      ['source <(eplb completion zsh)', 'in ~/.zshrc, behind compinit'],
      ['eplb completion fish > ~/.config/fish/completions/eplb.fish', 'for fish'],
    ],
  });
}

function shellOf(text: string): (typeof SHELLS)[number] {
  const shell = SHELLS.find((one) => one === text);
  if (shell !== undefined) return shell;
  throw new EplbError('EPLB_OPTION', `shell: ${quote(text)} is none of ${SHELLS.join(', ')}`);
}

async function run(shell: (typeof SHELLS)[number], commands: readonly Command[]): Promise<void> {
  const formats = [...new Set(FORMATS.map(({ name }) => name))];
  const words = {
    '--from': formats,
    '--to': formats,
    '--format': formats,
    '--as': ['loads', 'routes'],
    '--for': [...ENGINE_NAMES, 'all'],
    '--policy': ['static', ...POLICY_NAMES],
    '--policies': ['static', ...POLICY_NAMES],
    '--model': MODEL_SHAPES.map(({ name }) => name),
  };
  await writeContent(process.stdout, completionScript(shell, completionCommands(commands, words)));
}
