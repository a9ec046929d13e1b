/** The completion of fish: one line per word, each on the condition that the commands before the cursor are these. */
import type { CommandNode, Kind } from './tree.ts';

export function fishScript(nodes: readonly CommandNode[]): string {
  const paths = nodes.filter(({ path }) => path !== '').map(({ path }) => path);
  const takers = [
    ...new Set(
      nodes.flatMap(({ options }) =>
        options
          .filter(({ takes }) => takes !== null)
          .flatMap(({ long, short }) => (short === null ? [long] : [long, short])),
      ),
    ),
  ];
  return `# Completion of lifeboat for fish. To have it always:
#   lifeboat completion fish > ~/.config/fish/completions/lifeboat.fish

set -g __lifeboat_paths ${paths.map(quoted).join(' ')}
set -g __lifeboat_takers ${takers.map(quoted).join(' ')}

# The commands before the cursor, without options and arguments.
function __lifeboat_path
    set -l words (commandline -opc)
    set -l path
    set -l waits 0
    for word in $words[2..-1]
        if test $waits = 1
            set waits 0
        else if string match -q -- '-*' $word
            contains -- $word $__lifeboat_takers; and set waits 1
        else
            set -l longer (string trim -- "$path $word")
            contains -- $longer $__lifeboat_paths; or break
            set path $longer
        end
    end
    echo "$path"
end

function __lifeboat_is
    test (__lifeboat_path) = "$argv[1]"
end

# Names are asked of the program, of the configuration that the line names.
function __lifeboat_names
    set -l words (commandline -opc)
    set -l config
    for at in (seq (count $words))
        if contains -- $words[$at] -c --config; and test $at -lt (count $words)
            set config --config $words[(math $at + 1)]
        end
    end
    lifeboat $config completion --list $argv[1] 2>/dev/null
end

complete -c lifeboat -f
${nodes.flatMap(lines).join('\n')}
`;
}

function lines(node: CommandNode): string[] {
  const here = `complete -c lifeboat -n ${quoted(`__lifeboat_is ${quoted(node.path)}`)}`;
  return [
    ...node.commands.map(({ name, description }) => `${here} -a ${quoted(name)} -d ${quoted(description)}`),
    ...node.arguments.flatMap(({ kind }) => {
      const offered = offer(kind);
      return offered === '' ? [] : [`${here}${offered}`];
    }),
    ...node.options.map(({ long, short, takes, description, kind }) => {
      const flags = [
        ...(long.startsWith('--') ? [`-l ${long.slice(2)}`] : []),
        ...(short === null ? [] : [`-s ${short.slice(1)}`]),
      ].join(' ');
      return `${here} ${flags}${takes === null ? '' : ` -r${offer(kind)}`} -d ${quoted(description)}`;
    }),
  ];
}

function offer(kind: Kind): string {
  switch (kind.of) {
    case 'groups':
    case 'arrays':
    case 'sites':
    case 'runs':
      return ` -a ${quoted(`(__lifeboat_names ${kind.of})`)}`;
    case 'files':
      return ' -F';
    case 'directories':
      return ` -a '(__fish_complete_directories)'`;
    case 'words':
      return ` -a ${quoted(kind.words.join(' '))}`;
    case 'anything':
      return '';
  }
}

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
