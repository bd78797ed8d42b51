"""What a machine starts, left in the store: the order holds a signed link to it and its digest.

Vast.ai's document allows 256 characters a variable, and a service shows an order's variables to
whoever may look at the account. So all that is long, and the link to the keys, lies in one object
under the attempt's hand-over prefix, which the machine deletes once it has its keys, as `revoke`
does. The command is launch/payload/loader.py, which needs nothing but sh and python3.
"""

import ast
import base64
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launch.contract import deadlines
from launch.contract.cloud import ContainerSpec
from launch.payload import container, key_link, loader, shell_end
from mimir.errors import BadInput
from mimir.runs.store import Store
from mimir.worker import webhook

LONGEST_VARIABLE = 256
"""Characters of a variable's name, the sign between and its value, by any reading of Vast.ai's
`env: {max_length: 256}` (its document of create_instance)."""
PART = 200
"""Characters of a link in one variable."""
_LINKS = ("MIMIR_KEYS_URL", "MIMIR_CODE_URL")
LONGEST_COMMAND = 3000
"""Characters of the command; Vast.ai takes 4,096 of arguments in all."""


def of(store: Store, run: str, attempt: int, what: ContainerSpec) -> ContainerSpec:
    """The same machine, with a short command and short variables.

    Raises:
        BadInput: a variable that the machine must have at once is too long, or the store is not
            in S3.
        StoreError: the store does not take what is left in it.
    """
    for name, is_what in (
        ("MIMIR_END", "the request by which a machine ends itself"),
        (webhook.FROM_MACHINE, "the webhook's address"),
    ):
        if not _shown(name, what.env.get(name, "")):
            most = LONGEST_VARIABLE - len(name) - 1
            raise BadInput(f"{is_what} has more than the {most} characters that an order takes")
    # The webhook's address is its password, which no store holds.
    left = {name: value for name, value in what.env.items() if name != webhook.FROM_MACHINE}
    content = json.dumps({"command": list(what.command), "env": left}).encode()
    link = key_link.leave(store, run, attempt, content, deadlines.KEYS_FETCHED_WITHIN)
    env = {name: value for name, value in what.env.items() if _shown(name, value)}
    env["MIMIR_SHA256"] = hashlib.sha256(content).hexdigest()
    parts = [link[at : at + PART] for at in range(0, len(link), PART)]
    env |= {f"MIMIR_LINK_{number}": part for number, part in enumerate(parts)}
    command = _command(what.env)
    if len(command) > LONGEST_COMMAND or len(env) > container.MOST_VARIABLES or len(parts) > 40:
        raise BadInput(
            f"a machine would get {len(env)} variables, and services take "
            f"{container.MOST_VARIABLES}: use a shorter store URL or fewer variables"
        )
    return replace(what, command=("sh", "-c", command), env=env)


def link_in(env: Mapping[str, str]) -> str:
    """The signed link in a machine's variables, "" if there is none: a secret."""
    parts = (env.get(f"MIMIR_LINK_{number}", "") for number in range(40))
    return "".join(parts)


def _shown(name: str, value: str) -> bool:
    """Whether a variable stands in the order: it is short, and none of a service's business."""
    return name not in _LINKS and len(name) + 1 + len(value) <= LONGEST_VARIABLE


def _command(env: Mapping[str, str]) -> str:
    """The shell's words: where Python runs, the loader."""
    packed = base64.b64encode(zlib.compress(_bare(Path(loader.__file__)).encode(), 9)).decode()
    start = f"import base64,zlib;exec(zlib.decompress(base64.b64decode('{packed}')))"
    return f'{shell_end.unless_python(env)}exec python3 -c "{start}"'


class _Bare(ast.NodeTransformer):
    """A module without docstrings and annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for each in (*node.args.args, node.args.vararg):
            if each is not None:
                each.annotation = None
        return self._undocumented(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._undocumented(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        unneeded = ("typing", "collections.abc")
        node.body = [
            each
            for each in node.body
            if not (isinstance(each, ast.ImportFrom) and each.module in unneeded)
        ]
        return self._undocumented(node)

    def _undocumented(self, node: ast.Module | ast.FunctionDef | ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        code = [
            each
            for each in node.body
            if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        ]
        node.body = code or [ast.Pass()]
        return node


def _bare(path: Path) -> str:
    return ast.unparse(ast.fix_missing_locations(_Bare().visit(ast.parse(path.read_text()))))
