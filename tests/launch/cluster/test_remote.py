"""`mimir --on`: commands on a login node, through a real sshd."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.cluster import login, remote
from launch.cluster.login import Login
from launch.providers import ssh
from mimir.errors import BadInput, ServiceError
from tests.login_node import LoginNode
from tests.waiting import LIMIT

pytest.importorskip("paramiko", reason="pip install paramiko")

SECRET = "https://hooks.example.org/planted-secret"
RECEIVED = (
    "from launch.cluster.remote import receive; import json, os, sys, time\nwords = receive()\n"
)
TOLD = RECEIVED + (
    "print(json.dumps([words, open('/proc/self/cmdline').read(), sys.stdin.isatty()]))\n"
    "sys.stderr.write('and this\\n'); sys.exit(7)\n"
)
WAITS = RECEIVED + (
    "try:\n"  # before the word that lets a test interrupt
    "    print('begun', flush=True)\n"
    "    while not os.path.exists('go'): time.sleep(0.02)\n"
    "    print('went on', flush=True)\n"
    "except KeyboardInterrupt:\n"
    "    print('committed', flush=True); sys.exit(75)\n"
)
DEAF = RECEIVED + (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "open('pid', 'w').write(str(os.getpid()))\n"
    "print('begun', flush=True)\n"
    "while not os.path.exists('go'): time.sleep(0.02)\n"
)


def line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: "subprocess.Popen[bytes]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIMIT)
    return process.returncode, (out or b"").decode(), err.decode()


def test_words_arrive_as_they_are_and_in_no_command_line(node: LoginNode) -> None:
    """Neither there nor in what a profile prints; exit code and both streams are the command's."""
    node.install(TOLD)
    (node.home / ".bash_profile").write_text("echo 'Welcome to the cluster'; read stolen\n")
    words = ["submit", "--notify", SECRET, "it's", "a b\nc", "$HOME;`id`", "é", "--on", "x" * 5000]
    code, out, err = node.on(*words)
    received, argv, terminal = json.loads(out)
    assert (code, received, terminal) == (7, words, False)
    assert SECRET not in argv
    assert err == "Welcome to the cluster\nand this\n"


def test_the_commands_are_mimirs_own(node: LoginNode) -> None:
    """With the store that setup was told, unless the command says another."""
    node.install()
    (node.home / remote.STORE).write_text(f"{node.home.as_uri()}/kept\n")
    assert f"{node.home}/kept" in node.on("runs")[2]
    assert f"{node.home}/said" in node.on("runs", "--store", f"{node.home.as_uri()}/said")[2]


def test_a_kept_store_that_cannot_be_read(node: LoginNode) -> None:
    node.install()
    (node.home / remote.STORE).write_bytes(b"\xff")
    code, _, err = node.on("runs")
    assert code == 78
    assert f"mimir: {node.home / remote.STORE} cannot be read ('utf-8' codec" in err
    assert err.count("\n") == 1


def test_output_is_streamed(node: LoginNode) -> None:
    node.install(WAITS)
    process = node.start("--on", node.login, "logs")
    assert line(process) == b"begun\n"
    (node.home / "go").touch()
    assert ended(process) == (0, "went on\n", "")


def test_ctrl_c_reaches_the_command(node: LoginNode) -> None:
    node.install(WAITS)
    process = node.start("--on", node.login, "train")
    assert line(process) == b"begun\n"
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert (code, out) == (75, "committed\n")
    assert "Ctrl-C again leaves it" in err


def test_ctrl_c_again_leaves_it_and_says_what_goes_on(node: LoginNode) -> None:
    node.install(DEAF)
    process = node.start("--on", node.login, "train")
    assert line(process) == b"begun\n"
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert b"again leaves it" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code == 130
    assert f"may go on at {node.login} as process " in err
    pid = int(err.partition("as process ")[2].partition(":")[0])
    assert b"receive" in Path(f"/proc/{pid}/cmdline").read_bytes()
    (node.home / "go").touch()


def test_a_terminal_is_handed_on(node: LoginNode) -> None:
    """Where the laptop has one: keys, Ctrl-C, and no word of the command on the screen."""
    node.install(WAITS.replace("print('begun'", "print('begun', sys.stdin.isatty()"))
    ours, theirs = pty.openpty()
    process = node.start("--on", node.login, "train", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""

    def read_until(word: bytes) -> None:
        nonlocal seen
        while word not in seen:
            seen += os.read(ours, 4096)

    read_until(b"begun True\r\n")
    os.write(ours, b"\x03")
    read_until(b"committed\r\n")
    assert process.wait(timeout=LIMIT) == 75
    assert remote.coded(["train"]).split(b"\n")[0] not in seen
    os.close(ours)


def test_a_lost_connection_is_told(node: LoginNode) -> None:
    node.install(DEAF)
    process = node.start("--on", node.login, "train")
    assert line(process) == b"begun\n"
    pid = int((node.home / "pid").read_text())
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    os.kill(int(parent), signal.SIGKILL)
    code, _, err = ended(process)
    assert code == 75
    assert "was lost; the command may go on" in err
    (node.home / "go").touch()


@pytest.mark.parametrize("error", [OSError("Socket is closed"), EOFError()])
def test_a_connection_that_is_lost_before_the_words_are_sent(
    node: LoginNode, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    import paramiko

    def lost(*_: object) -> None:
        raise error

    node.install(TOLD)
    monkeypatch.setattr(paramiko.Channel, "sendall", lost)
    said = f"the command did not begin at {node.login}: {str(error) or 'EOFError'}"
    with (
        login.connect(Login.parse(node.login)) as connection,
        pytest.raises(ServiceError, match=said),
    ):
        remote.run(connection, ["x"], terminal=False)


def test_output_that_cannot_be_written(node: LoginNode) -> None:
    node.install(TOLD)
    with Path("/dev/full").open("wb") as full:
        code, _, err = ended(node.start("--on", node.login, "x", stdout=full))
    assert code == 75
    assert "its output cannot be written here (No space left on device); the command may" in err


def test_a_reader_that_leaves_is_no_error(node: LoginNode) -> None:
    node.install(RECEIVED + "while True: print('more', flush=True); time.sleep(0.01)\n")
    process = node.start("--on", node.login, "logs")
    assert line(process) == b"more\n"
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(timeout=LIMIT)) == (b"", 0)
    process.stderr.close()


def unknown(node: LoginNode) -> None:
    node.forget()


def other(node: LoginNode) -> None:
    node.forget()
    node.know(ssh.new_pair("x").public)


def revoked(node: LoginNode) -> None:
    with (node.laptop / ".ssh" / "known_hosts").open("a") as known:
        known.write(f"@revoked * {node.host_key}\n")


def stranger(node: LoginNode) -> None:
    (node.laptop / ".ssh" / "id_ed25519").unlink()
    ssh.own(node.laptop / ".ssh" / "id_ed25519", "x")


def in_a_circle(node: LoginNode) -> None:
    (node.laptop / ".ssh" / "config").write_text(
        f"Host 127.0.0.1\n  ProxyJump 127.0.0.1:{node.port}\n"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (unknown, "is not known here.*ssh-ed25519 SHA256:"),
        (other, "shows another host key .*somebody may sit in between"),
        (revoked, "is revoked here"),
        (stranger, "does not let .* in: it is no account there"),
        (in_a_circle, "a jump host to itself"),
    ],
)
def test_whom_not_to_talk_to(
    node: LoginNode, change: Callable[[LoginNode], None], said: str
) -> None:
    change(node)
    with pytest.raises(BadInput, match=said) as caught:
        login.connect(Login.parse(node.login))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no-such-host.invalid", "there is no host no-such-host.invalid"),
        ("127.0.0.1:{closed}", "cannot be reached by SSH .Connection refused"),
    ],
)
def test_nobody_there(node: LoginNode, text: str, said: str) -> None:
    node.down()
    with pytest.raises(ServiceError, match=said):
        login.connect(Login.parse(text.format(closed=node.port)))


def test_not_installed_there(node: LoginNode) -> None:
    code, out, err = node.on("runs")
    assert (code, out) == (78, "")
    said = f"mimir: Mimir is not installed at {node.login}: `mimir cluster setup {node.login}`\n"
    assert err == said


def test_another_program_answers(node: LoginNode) -> None:
    (node.home / ".bash_profile").write_text("exec echo 'no shell for you'\n")
    code, out, err = node.on("runs")
    assert (code, out) == (75, "")
    assert "before Mimir answered" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on"], "--on needs a host"),
        (["--on", "x"], "what shall run there?"),
        (["--on=a b", "runs"], "--on is 'a b', but must be a login node"),
        (["--on", "x", "--on", "y", "runs"], "--on is given twice"),
        (["--via", "x", "runs"], "--via is for --on"),
    ],
)
def test_wrong_words(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.launch.test_main import run

    assert run(monkeypatch, *words) == 78
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("login.uni.edu", Login("login.uni.edu")),
        ("me@login:2222", Login("login", "me", 2222)),
        ("me@[fe80::1]:22", Login("fe80::1", "me", 22)),
        ("ssh://me@jump:22", Login("jump", "me", 22)),
    ],
)
def test_logins(text: str, found: Login) -> None:
    assert Login.parse(text) == found
    assert str(found) == text.removeprefix("ssh://")


@pytest.mark.parametrize(
    "text",
    ["", "a@b@c", "-oProxyCommand=x", "x:99999", "x:y", "a/b", "@x", "http://me@a", "me:pass@a"],
)
def test_no_logins(text: str) -> None:
    with pytest.raises(BadInput, match="must be a login node"):
        Login.parse(text)


@pytest.mark.parametrize(
    ("host", "config", "said"),
    [
        ("a..b", "", "'a..b' cannot be the name of a host"),
        ("a" * 64, "", "cannot be the name of a host"),
        ("c", "HostName a..b", "'a..b' cannot be the name of a host"),
        ("c", "Port abc", "Port of c is 'abc', but must be from 1 to 65535"),
        ("c", "Port 65536", "Port of c is '65536'"),
        ("c", 'ProxyCommand nc "%h', "ProxyCommand of c cannot be started (No closing quotation)"),
        ("c", "ProxyCommand /no/program %h", "cannot be started (No such file or directory)"),
        ("c", "ProxyJump ftp://jump", "a jump host is 'ftp://jump', but must be"),
    ],
)
def test_what_cannot_be_meant(
    host: str, config: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """On the command line or in ~/.ssh/config: one sentence."""
    from tests.launch.test_main import run

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(f"Host c\n  {config}\n")
    assert run(monkeypatch, "--on", host, "runs") == 78
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_through_a_jump_host(node: LoginNode, tmp_path: Path) -> None:
    """As the option says and as ~/.ssh/config says; each host's key is checked."""
    node.install(TOLD)
    jump = LoginNode(tmp_path / "jump", node.laptop)
    try:
        assert node.run("--on", node.login, "--via", jump.login, "x")[0] == 7
        (node.laptop / ".ssh" / "config").write_text(
            f"Host cluster\n  HostName 127.0.0.1\n  Port {node.port}\n"
            f"  ProxyJump 127.0.0.1:{jump.port}\n"
        )
        assert node.run("--on", "cluster", "x")[0] == 7
        came = (jump.folder / "sshd.log").read_text().count("Accepted publickey")
        assert came == 2
        node.down()
        with pytest.raises(ServiceError, match=f"jump host {jump.login} does not connect to"):
            login.connect(Login.parse("cluster"))
        jump.forget()
        with pytest.raises(BadInput, match=f"the host key of {jump.login} is not known"):
            login.connect(Login.parse("cluster"))
    finally:
        jump.down()
