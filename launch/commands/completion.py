"""completion: what makes a shell complete commands, options and names."""

from mimir.errors import BadInput
from mimir.text import nearest


def completion(shell: str) -> None:
    """Print a script by which a shell completes the words of `mimir`.

    These are commands, options, presets, providers, files, and the names of runs whose store is a
    folder.

    Args:
        shell: bash, zsh or fish.

    Example:
        python -m launch completion bash > ~/.local/share/bash-completion/completions/mimir
        python -m launch completion zsh > ~/.zfunc/_mimir
        python -m launch completion fish > ~/.config/fish/completions/mimir.fish
    """
    from launch.commands import TREE
    from launch.ui import completion as words
    from launch.ui.shells import SCRIPTS
    from mimir import commands

    if shell not in SCRIPTS:
        raise BadInput(f"there is no script for {shell!r}{nearest(shell, SCRIPTS)}")
    own = {name: found for name, found in commands.TREE.items() if name not in TREE}
    every = list(words.lines({**TREE, **own}))
    print(SCRIPTS[shell](every, words.values()), end="")
