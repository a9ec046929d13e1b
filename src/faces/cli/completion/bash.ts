/** The completion of bash (4.4 or newer): the tree as one `case`, and a walk over the words before the cursor. */
import type { CommandNode, Kind } from './tree.ts';

export function bashScript(nodes: readonly CommandNode[]): string {
  return `# Completion of lifeboat for bash. To have it always:
#   lifeboat completion bash > /etc/bash_completion.d/lifeboat

# What may follow the commands in $1: subs, opts, kinds of arguments (the last one with + repeats), options with values.
_lifeboat_at() {
  case $1 in
${nodes.map(branch).join('\n')}
    *) subs='' opts='' args='' vals='' ;;
  esac
}

_lifeboat() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev='' path='' config='' word kind i count=0
  local subs opts args vals
  COMPREPLY=()
  _lifeboat_at "$path"
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $prev ]]; then
      [[ $prev == -c || $prev == --config ]] && config=$word
      prev=''
    elif [[ $word == -* ]]; then
      [[ " $vals " == *" $word="* ]] && prev=$word
    elif [[ $count -eq 0 && " $subs " == *" $word "* ]]; then
      path="\${path:+$path }$word"
      _lifeboat_at "$path"
    else
      count=$((count + 1))
    fi
  done
  if [[ -n $prev ]]; then
    kind=" $vals "
    kind=\${kind#*" $prev="}
    kind=\${kind%% *}
    _lifeboat_fill "$kind"
    return
  fi
  if [[ $cur == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$opts" -- "$cur")
    return
  fi
  [[ $count -eq 0 && -n $subs ]] && mapfile -t COMPREPLY < <(compgen -W "$subs" -- "$cur")
  local -a positions=($args)
  kind=\${positions[count]:-}
  if [[ -z $kind && \${#positions[@]} -gt 0 && \${positions[-1]} == *+ ]]; then kind=\${positions[-1]}; fi
  [[ -n $kind ]] && _lifeboat_fill "\${kind%+}"
}

# Adds what is of this kind. Only names are asked of the program.
_lifeboat_fill() {
  local -a found=()
  case $1 in
    groups | arrays | sites | runs)
      mapfile -t found < <(compgen -W "$(lifeboat \${config:+--config "$config"} completion --list "$1" 2>/dev/null)" -- "$cur") ;;
    files) compopt -o filenames 2>/dev/null; mapfile -t found < <(compgen -f -- "$cur") ;;
    directories) compopt -o filenames 2>/dev/null; mapfile -t found < <(compgen -d -- "$cur") ;;
    words:*) mapfile -t found < <(compgen -W "$(printf '%s' "\${1#words:}" | tr , ' ')" -- "$cur") ;;
  esac
  COMPREPLY+=("\${found[@]}")
}

complete -F _lifeboat lifeboat
`;
}

function branch(node: CommandNode): string {
  const flags = node.options.flatMap(({ long, short }) =>
    short === null || short === long ? [long] : [long, short],
  );
  const values = node.options
    .filter(({ takes }) => takes !== null)
    .flatMap(({ long, short, kind }) =>
      (short === null || short === long ? [long] : [long, short]).map((flag) => `${flag}=${kindText(kind)}`),
    );
  const kinds = node.arguments.map(({ kind, variadic }) => `${kindText(kind)}${variadic ? '+' : ''}`);
  return [
    `    '${node.path}')`,
    `      subs='${node.commands.map(({ name }) => name).join(' ')}'`,
    `      opts='${flags.join(' ')}'`,
    `      args='${kinds.join(' ')}'`,
    `      vals='${values.join(' ')}' ;;`,
  ].join('\n');
}

/** Without spaces: `groups`, `words:bash,zsh`. */
const kindText = (kind: Kind): string => (kind.of === 'words' ? `words:${kind.words.join(',')}` : kind.of);
