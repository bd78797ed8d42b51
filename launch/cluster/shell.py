"""Scripts of sh on a login node, below a login shell, whatever shell the account has."""

import base64
import shlex
from collections.abc import Callable

from launch.cluster.login import Connection
from launch.providers import ssh
from mimir.errors import ServiceError


def command(script: str) -> str:
    """A command line that runs a script of sh below a login shell, whatever shell the user has.

    Standard output and input are the script's own; what the profile prints goes to standard error.
    """
    inner = 'exec >&3 3>&- <&4 4<&-; script=$mimir_script; unset mimir_script; eval "$script"'
    text = (
        f"exec 3>&1 4<&0\nexport mimir_script={shlex.quote(script)}\n"
        "shell=$(command -v bash) || shell=sh\n"
        f'exec "$shell" -lc {shlex.quote(inner)} >&2 </dev/null\n'
    )
    coded = base64.b64encode(text.encode()).decode()
    # Quotes and words that mean the same to sh, csh and fish.
    return f"exec sh -c 'eval \"$(printf %s {coded} | base64 -d)\"'"


def ask(
    connection: Connection,
    script: str,
    data: bytes = b"",
    line: Callable[[str], None] | None = None,
) -> tuple[int, list[str]]:
    """(exit code, lines that it printed) of a script. It gets the data as its standard input.

    line: is called with each line as it comes. ServiceError if the connection is lost.
    """
    paramiko, where = ssh.library(), connection.login
    found: list[str] = []
    try:
        channel = connection.client.get_transport().open_session()
        channel.exec_command(command(f"exec 2>&1\n{script}"))
        if data:
            channel.sendall(data)
        channel.shutdown_write()
        with channel.makefile("rb") as printed:
            for each in printed:
                found.append(each.decode(errors="replace").rstrip("\r\n"))
                if line is not None:
                    line(found[-1])
        code = int(channel.recv_exit_status())
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise ServiceError(f"the connection to {where} was lost: {error}") from None
    if code < 0:
        raise ServiceError(f"the connection to {where} was lost, or its command was killed")
    return code, found
