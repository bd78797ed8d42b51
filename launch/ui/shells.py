"""Completion scripts for bash, zsh and fish: all words stand in them, so that nothing is started.

Names of runs are those of a store that is a folder: `--store` of the line, $MIMIR_STORE, or the
default one. What lies in a bucket is not asked for at a key press.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from launch.ui.completion import FILE, PRESET, RUN, SEVERAL, Line

Values = Mapping[str, Sequence[str]]
BEFORE = ("--on", "--via")
"""Options that stand before the command, each with a value."""


def _quoted(words: Iterable[str]) -> str:
    return " ".join(f"'{word}'" for word in words)


# The three make no name of a run from anything else than a folder's name that is legal for one.
_BASH_RUNS = r"""
_mimir_runs() {
    local store="${MIMIR_STORE:-}" folder
    [[ $COMP_LINE =~ --store[=\ ]+[\'\"]?([^\ \'\"]+) ]] && store="${BASH_REMATCH[1]}"
    case $store in
        "") store="${XDG_DATA_HOME:-$HOME/.local/share}/mimir/runs" ;;
        file://*) store="${store#file://}"; store="${store%%\?*}" ;;
        *) return ;;
    esac
    for folder in "${store//\%20/ }"/[a-z0-9]*/; do
        folder="${folder%/}"; folder="${folder##*/}"
        [[ $folder =~ ^[a-z0-9][a-z0-9_-]*$ ]] && echo "$folder"
    done
}
"""

_BASH = r"""
_mimir() {
    local IFS=$' \t\n' i word path="" options="" valued="" kinds="" kind="" words=""
    local before="" cur_is=""
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
    COMPREPLY=()
    [[ $cur == "=" ]] && cur=""
    [[ $prev == "=" ]] && prev="${COMP_WORDS[COMP_CWORD-2]}"
    for ((i = 1; i < COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        [[ -z $path && " @BEFORE@ " == *" $word "* ]] && { ((i++)); continue; }
        case "${path:+$path }$word" in
            @PATHS@) path="${path:+$path }$word" ;;
            *) [[ -n $path ]] && break ;;
        esac
    done
    case $path in
@COMMANDS@
    esac
    for word in $valued; do
        [[ ${word%=*} == "$prev" ]] && { kinds="${word##*=}"; cur_is=value; break; }
    done
    if [[ $cur_is == value ]]; then
        [[ -n $kinds ]] || return
    elif [[ $cur == -* || $kinds == none ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
        return
    fi
    for kind in $kinds; do
        case $kind in
            run) words="$words $(_mimir_runs)" ;;
            commands) words="$words $options" ;;
@KINDS@
        esac
    done
    case " $kinds " in
        *" file "* | *" preset "*) compopt -o filenames 2>/dev/null
            IFS=$'\n'; COMPREPLY=($(compgen -f -- "$cur")); IFS=$' \t\n' ;;
        *@SEVERAL@*) [[ $cur == *,* ]] && { before="${cur%,*},"; cur="${cur##*,}"; } ;;
    esac
    COMPREPLY+=($(compgen -P "$before" -W "$words" -- "$cur"))
}
complete -F _mimir mimir
"""


def bash(every: Sequence[Line], values: Values) -> str:
    """For bash 3.2 and later."""
    top = [line.words[0] for line in every if len(line.words) == 1]
    commands = [f"        '') options='{' '.join((*top, *BEFORE))} --help --version'\n"
                "            kinds=commands ;;"]  # fmt: skip
    for line in every:
        options = " ".join(f"--{each.name}" for each in line.options)
        valued = " ".join(
            f"--{each.name}={each.kind}" for each in line.options if each.kind is not None
        )
        kinds = " ".join(kind for kind in line.kinds if kind) or "none"
        if line.within:
            options, kinds = " ".join(line.within), "commands"
        commands.append(
            f"        '{' '.join(line.words)}') options='{options}'\n"
            f"            valued='{valued}'\n            kinds='{kinds}' ;;"
        )
    words = [f'            {k}) words="$words {" ".join(v)}" ;;' for k, v in values.items()]
    body = _BASH
    for mark, text in {
        "@BEFORE@": " ".join(BEFORE),
        "@PATHS@": "|".join(f"'{' '.join(line.words)}'" for line in every),
        "@COMMANDS@": "\n".join(commands), "@KINDS@": "\n".join(words),
        "@SEVERAL@": " | *".join(f'" {kind} "' for kind in SEVERAL).replace(" | *", "* | *"),
    }.items():  # fmt: skip
        body = body.replace(mark, text)
    return "# bash completion of mimir: source <(mimir completion bash)\n" + _BASH_RUNS + body


_ZSH_RUNS = r"""
__mimir_names() {
    local store="${MIMIR_STORE:-}" at=${words[(I)--store(|=*)]}
    local -a names
    (( at )) && store="${${words[at]#--store}#=}" && [[ -z $store ]] && store="${words[at+1]}"
    store="${(Q)store}"
    case $store in
        "") store="${XDG_DATA_HOME:-$HOME/.local/share}/mimir/runs" ;;
        file://*) store="${${store#file://}%%\?*}" ;;
        *) return 1 ;;
    esac
    names=("${store//\%20/ }"/[a-z0-9]*(N/:t))
    (( $#names )) && compadd -a names
}
__mimir_presets() {
    _alternative 'preset:preset:(@PRESETS@)' 'file:file:_files -g "*.(yaml|yml)"'
}
"""


def zsh(every: Sequence[Line], values: Values) -> str:
    """As a file `_mimir` on $fpath, or read by `source`."""
    actions = {kind: f"({' '.join(words)})" for kind, words in values.items()}
    actions |= {kind: f"_values -s , {kind} {' '.join(values[kind])}" for kind in SEVERAL}
    actions |= {RUN: "__mimir_names", FILE: "_files", PRESET: "__mimir_presets", "": " "}
    parts = ["#compdef mimir\n# zsh completion of mimir: mimir completion zsh > …/_mimir",
             _ZSH_RUNS.replace("@PRESETS@", " ".join(values[PRESET]))]  # fmt: skip
    groups = [Line((), "", within=tuple(one.words[0] for one in every if len(one.words) == 1))]
    for line in every:
        if line.within:
            groups.append(line)
            continue
        specs = [
            f"        '--{each.name}[{each.meaning}]'" if each.kind is None
            else f"        '--{each.name}=[{each.meaning}]:{each.name}:{actions[each.kind]}'"
            for each in line.options
        ]  # fmt: skip
        specs += [f"        '*:{kind}:{actions[kind]}'" for kind in line.kinds[:1] if kind]
        body = " \\\n".join(["    _arguments", *specs])
        parts.append(f"{_function(line.words)}() {{\n{body}\n}}")
    summaries = {line.words: _bare(line.summary) for line in every}
    for group in groups:
        parts.append(_zsh_group(group, summaries))
    parts.append('if [[ $funcstack[1] == _mimir ]]; then\n    _mimir "$@"\nelse\n'
                 "    compdef _mimir mimir\nfi\n")  # fmt: skip
    return "\n".join(parts)


def _zsh_group(group: Line, summaries: Mapping[tuple[str, ...], str]) -> str:
    described = " ".join(
        f"'{name}:{summaries[(*group.words, name)]}'" for name in group.within
    )  # fmt: skip
    cases = "\n".join(
        f"            {name}) {_function((*group.words, name))} ;;" for name in group.within
    )
    first = "'--on=[on this login node]:login:_hosts' '--via=[by this host]:host:_hosts' "
    more = "" if group.words else f"{first}'--help[what there is]' '--version[which it is]' "
    return (
        f"{_function(group.words)}() {{\n"
        "    local context curcontext=$curcontext state line\n    typeset -A opt_args\n"
        f"    local -a found=({described})\n"
        f"    _arguments -C {more}'1:command:->command' '*::word:->words'\n"
        "    case $state in\n        command) _describe command found ;;\n"
        f"        words) case $words[1] in\n{cases}\n        esac ;;\n    esac\n}}"
    )


def _function(words: Sequence[str]) -> str:
    return "_".join(("_mimir", *words))


def _bare(text: str) -> str:
    return "".join(char for char in text if char not in "'\"\\`:[]$")


_FISH_RUNS = r"""
function __mimir_runs
    set -l store "$MIMIR_STORE"
    set -l said (string match -r -- '--store[= ]+[\'"]?([^ \'"]+)' (commandline -cp))[2]
    test -n "$said"; and set store $said
    if test -z "$store"
        set store "$HOME/.local/share/mimir/runs"
        test -n "$XDG_DATA_HOME"; and set store "$XDG_DATA_HOME/mimir/runs"
    else if string match -q 'file://*' -- $store
        set store (string replace -r '\?.*' '' -- (string replace 'file://' '' -- $store))
        set store (string unescape --style=url -- $store)
    else
        return
    end
    for folder in $store/*/
        string match -r '^[a-z0-9][a-z0-9_-]*$' -- (basename $folder)
    end
end
function __mimir_at
    set -l path
    set -l skip
    for word in (commandline -opc)[2..]
        if test -n "$skip"
            set skip
        else if test -z "$path"; and contains -- $word @BEFORE@
            set skip yes
        else if contains -- (string join -- ' ' $path $word) @PATHS@
            set path $path $word
        else if test -n "$path"
            break
        end
    end
    test "$path" = "$argv"
end
complete -c mimir -f
"""


def fish(every: Sequence[Line], values: Values) -> str:
    """For fish 3 and later."""
    paths = _quoted(" ".join(line.words) for line in every)
    body = _FISH_RUNS.replace("@BEFORE@", " ".join(BEFORE)).replace("@PATHS@", paths)
    made = ["# fish completion of mimir: mimir completion fish | source", body]
    made += [f"complete -c mimir -n '__mimir_at' -l {each[2:]} -x" for each in BEFORE]
    found = {kind: f"-x -a '{' '.join(words)}'" for kind, words in values.items()}
    found |= {RUN: "-x -a '(__mimir_runs)'", FILE: "-r -F", "": "-x"}
    found[PRESET] = f"-r -F -a '{' '.join(values[PRESET])}'"
    for line in every:
        above = " ".join(("__mimir_at", *line.words[:-1]))
        made.append(
            f"complete -c mimir -n '{above}' -a {line.words[-1]} -d '{_bare(line.summary)}'"
        )
        at = f"complete -c mimir -n '{' '.join(('__mimir_at', *line.words))}'"
        for each in line.options:
            takes = "" if each.kind is None else f" {found[each.kind]}"
            made.append(f"{at} -l {each.name}{takes} -d '{each.meaning}'")
        made += [f"{at} {found[kind].replace('-x', '-f')}" for kind in line.kinds if kind]
    return "\n".join(made) + "\n"


SCRIPTS: dict[str, Callable[[Sequence[Line], Values], str]] = {
    "bash": bash, "zsh": zsh, "fish": fish,
}  # fmt: skip
