"""The programs of a fake virtual machine: as far as our user data and our looks use them.

`docker` asks an engine over a socket, as the real one does. `systemctl` starts a unit again
while it fails, and the enabled ones at a boot.
"""

import os
import shutil
import sys
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
"""None if this computer has none; tests/servers/sshd.sh gets one."""

_DOCKER = """\
#!{python} -IS
import json, os, socket, sys
words = sys.argv[1:]
told = {{"words": words, "env": ""}}
if "--env-file" in words:
    told["env"] = open(words[words.index("--env-file") + 1], encoding="utf-8").read()
with socket.socket(socket.AF_UNIX) as line:
    try:
        line.connect({socket!r})
    except OSError:
        sys.exit("Cannot connect to the Docker daemon")
    line.sendall(json.dumps(told).encode() + b"\\n")
    said = b""
    while part := line.recv(65536):
        said += part
answer = json.loads(said or '{{"code": 1, "out": "", "err": "the daemon went away"}}')
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""

_SYSTEMCTL = """\
#!/bin/sh
for last; do :; done
units={root}/etc/systemd/system
begin() {{
  run=$(sed -n 's/^ExecStart=//p' "$units/$1")
  log=$(sed -n 's/^StandardOutput=append://p' "$units/$1")
  ( until "$run" >>"$log" 2>&1 </dev/null; do sleep 1; done ) &
}}
case "$1" in
  daemon-reload|restart) ;;
  enable) echo "$last" >> {root}/enabled; case " $* " in *" --now "*) begin "$last";; esac;;
  boot) while read -r unit; do begin "$unit"; done < {root}/enabled;;
  *) echo "systemctl: $1 is not imitated" >&2; exit 1;;
esac
"""

_SYSTEMD_RUN = """\
#!/bin/sh
[ "$1" = --no-block ] || exit 1
n=${2#--on-active=}; shift 2
( sleep "$n"; exec "$@" ) >/dev/null 2>&1 </dev/null &
"""

_SSHD = """\
ListenAddress {address}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
AuthenticationMethods publickey
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
ForceCommand {folder}/shell
"""


def install(folder: Path, root: Path) -> None:
    """Put them into folder/bin. root: what the machine holds to be /."""
    words = {
        "docker": _DOCKER.format(python=sys.executable, socket=str(folder / "engine")),
        "systemctl": _SYSTEMCTL.format(root=root),
        "sudo": '#!/bin/sh\nexec "$@"\n',
        "nvidia-ctk": "#!/bin/sh\n",
        "nvidia-smi": f"#!/bin/sh\n[ -s {folder}/gpu ] && echo 'GPU 0: Fake' || exit 9\n",
        # What must not reach this computer's own.
        "apt-get": "#!/bin/sh\nexit 1\n",
        "shutdown": f"#!/bin/sh\ntouch {folder}/off\n",
        "systemd-run": _SYSTEMD_RUN,
    }
    (folder / "bin").mkdir(parents=True)
    for name, text in words.items():
        program(folder / "bin" / name, text)


def prepare_sshd(folder: Path, root: Path, address: str, port: int) -> None:
    """Its configuration; what is asked for is run in the machine, not on this computer."""
    (folder / "sshd_config").write_text(_SSHD.format(address=address, port=port, folder=folder))
    paths = f"s#/var/l#{root}/var/l#g"
    program(
        folder / "shell",
        f"#!/bin/sh\nPATH={folder / 'bin'}:/usr/bin:/bin\nexport PATH\n"
        f'exec sh -c "$(printf %s "$SSH_ORIGINAL_COMMAND" | sed \'{paths}\')"\n',
    )


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
