import type { CompletionCommand, CompletionValue } from './completion.ts';

/** The shells that there is completion for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** Makes the script that completes the command in a shell. */
export function completionScript(
  shell: (typeof SHELLS)[number],
  commands: readonly CompletionCommand[],
): string {
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](commands);
}

/** A text as one word of a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function bashValue(value: CompletionValue): string {
  if (value.kind === 'words') return `COMPREPLY=($(compgen -W ${quoted(value.words.join(' '))} -- "$cur"))`;
  return value.kind === 'file' ? '_eplb_files' : 'COMPREPLY=()';
}

/**
 * Names of files may hold blanks, so that they are split at line ends only. `=` stands between words for
 * bash: an option's value behind it is completed as one behind a blank.
 */
function bashScript(commands: readonly CompletionCommand[]): string {
  const names = commands.map(({ name }) => name).join(' ');
  const cases = commands.map(({ name, options, argument }) => {
    const flags = options.flatMap((option) => option.names).join(' ');
    const values = options.filter(({ value }) => value !== undefined);
    const lines = values.map(
      ({ names, value }) => `        ${names.join('|')}) ${bashValue(value!)}; return ;;`,
    );
    return [
      `    ${name})`,
      '      case "$prev" in',
      ...lines,
      '      esac',
      `      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W ${quoted(flags)} -- "$cur"));`,
      `      else ${bashValue(argument)}; fi ;;`,
    ].join('\n');
  });
  return `# bash completion of eplb: source <(eplb completion bash)
_eplb_files() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -f -- "$cur"))
}
_eplb() {
  local IFS=$' \\t\\n' cur="\${COMP_WORDS[COMP_CWORD]}" prev=""
  (( COMP_CWORD > 0 )) && prev="\${COMP_WORDS[COMP_CWORD - 1]}"
  if [[ $cur == "=" ]]; then cur=""; elif [[ $prev == "=" ]]; then prev="\${COMP_WORDS[COMP_CWORD - 2]}"; fi
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W ${quoted(`${names} help --help --version`)} -- "$cur"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    help) COMPREPLY=($(compgen -W ${quoted(names)} -- "$cur")) ;;
  esac
}
complete -o filenames -F _eplb eplb
`;
}

function zshValue(value: CompletionValue): string {
  if (value.kind === 'words') return `(${value.words.join(' ')})`;
  return value.kind === 'file' ? '_files' : ' ';
}

function zshScript(commands: readonly CompletionCommand[]): string {
  const described = commands.map(({ name, description }) => quoted(`${name}:${description}`));
  // Colons and brackets part the fields of a specification.
  const plain = (text: string) => text.replaceAll(/[[\]\\:]/g, (character) => `\\${character}`);
  const cases = commands.map(({ name, options, argument }) => {
    const specs = options.map(({ names, description, value }) => {
      const spelled = names.length === 1 ? names[0]! : `{${names.join(',')}}`;
      const rest = `[${plain(description)}]${value === undefined ? '' : `:value:${zshValue(value)}`}`;
      return `        ${spelled}${quoted(rest)}`;
    });
    return `      ${name}) _arguments -S \\\n${[...specs, `        ${quoted(`*:argument:${zshValue(argument)}`)}`].join(' \\\n')} ;;`;
  });
  return `#compdef eplb
# zsh completion of eplb: eplb completion zsh > "\${fpath[1]}/_eplb"
_eplb() {
  local line state
  _arguments -C '1:command:->command' '*::argument:->argument'
  case $state in
    command)
      local -a commands=(
        ${described.join('\n        ')}
      )
      _describe command commands ;;
    argument)
      case $line[1] in
${cases.join('\n').replaceAll(/^/gm, '  ')}
      esac ;;
  esac
}
if [[ $zsh_eval_context == *loadautofunc* ]]; then _eplb "$@"; else compdef _eplb eplb; fi
`;
}

function fishScript(commands: readonly CompletionCommand[]): string {
  const lines = commands.flatMap(({ name, description, options, argument }) => {
    const within = `-n ${quoted(`__fish_seen_subcommand_from ${name}`)}`;
    const value = (one: CompletionValue | undefined) => {
      if (one === undefined) return '';
      if (one.kind === 'words') return ` -x -a ${quoted(one.words.join(' '))}`;
      return one.kind === 'file' ? ' -r -F' : ' -x';
    };
    return [
      `complete -c eplb -n __fish_use_subcommand -f -a ${name} -d ${quoted(description)}`,
      argument.kind === 'file'
        ? `complete -c eplb ${within} -F`
        : `complete -c eplb ${within}${argument.kind === 'words' ? ` -f -a ${quoted(argument.words.join(' '))}` : ' -f'}`,
      ...options.map((option) => {
        const spelled = option.names.map((one) =>
          one.startsWith('--') ? `-l ${one.slice(2)}` : `-s ${one.slice(1)}`,
        );
        return `complete -c eplb ${within} ${spelled.join(' ')}${value(option.value)} -d ${quoted(option.description)}`;
      }),
    ];
  });
  return `# fish completion of eplb: eplb completion fish > ~/.config/fish/completions/eplb.fish
complete -c eplb -n __fish_use_subcommand -f
${lines.join('\n')}
`;
}
