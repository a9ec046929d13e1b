/** The completion of zsh: as that of bash, with a description beside each word. */
import type { CommandNode, Kind } from './tree.ts';

export function zshScript(nodes: readonly CommandNode[]): string {
  return `#compdef lifeboat
# Completion of lifeboat for zsh. To have it always, into a directory of $fpath:
#   lifeboat completion zsh > /usr/local/share/zsh/site-functions/_lifeboat

# What may follow the commands in $1: subs, opts, kinds of arguments (the last one with + repeats), options with values.
_lifeboat_at() {
  case $1 in
${nodes.map(branch).join('\n')}
    *) subs=() opts=() args=() vals=() ;;
  esac
}

# Adds what is of this kind. Only names are asked of the program.
_lifeboat_fill() {
  case $1 in
    groups | arrays | sites | runs)
      compadd -- \${(f)"$(lifeboat \${config:+--config} \${config:+$config} completion --list $1 2>/dev/null)"} ;;
    files) _files ;;
    directories) _files -/ ;;
    words:*) compadd -- \${(s:,:)1#words:} ;;
  esac
}

_lifeboat() {
  local at='' config='' word='' waits='' kind=''
  local -i i count=0
  local -a subs opts args
  local -A vals
  _lifeboat_at "$at"
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    if [[ -n $waits ]]; then
      [[ $waits == -c || $waits == --config ]] && config=$word
      waits=''
    elif [[ $word == -* ]]; then
      [[ -n \${vals[$word]:-} ]] && waits=$word
    elif ((count == 0)) && ((\${subs[(I)$word:*]})); then
      at="\${at:+$at }$word"
      _lifeboat_at "$at"
    else
      ((count += 1))
    fi
  done
  if [[ -n $waits ]]; then
    _lifeboat_fill \${vals[$waits]}
    return
  fi
  if [[ $words[CURRENT] == -* ]]; then
    _describe -o option opts
    return
  fi
  ((count == 0 && \${#subs})) && _describe command subs
  kind=\${args[count + 1]:-}
  [[ -z $kind && \${args[-1]:-} == *+ ]] && kind=\${args[-1]}
  [[ -n $kind ]] && _lifeboat_fill \${kind%+}
  return 0
}

if [[ \${funcstack[1]:-} == _lifeboat ]]; then _lifeboat "$@"; else compdef _lifeboat lifeboat; fi
`;
}

function branch(node: CommandNode): string {
  const list = (entries: readonly string[]): string => entries.map(quoted).join(' ');
  const flags = node.options.flatMap(({ long, short, description }) =>
    (short === null || short === long ? [long] : [long, short]).map(
      (flag) => `${flag}:${colons(description)}`,
    ),
  );
  const values = node.options
    .filter(({ takes }) => takes !== null)
    .flatMap(({ long, short, kind }) =>
      (short === null || short === long ? [long] : [long, short]).flatMap((flag) => [flag, kindText(kind)]),
    );
  const kinds = node.arguments.map(({ kind, variadic }) => `${kindText(kind)}${variadic ? '+' : ''}`);
  return [
    `    ${quoted(node.path)})`,
    `      subs=(${list(node.commands.map(({ name, description }) => `${name}:${colons(description)}`))})`,
    `      opts=(${list(flags)})`,
    `      args=(${list(kinds)})`,
    `      vals=(${list(values)}) ;;`,
  ].join('\n');
}

/** A colon ends the word that is described. */
const colons = (text: string): string => text.replaceAll(':', '\\:');

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const kindText = (kind: Kind): string => (kind.of === 'words' ? `words:${kind.words.join(',')}` : kind.of);
