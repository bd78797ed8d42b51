import io

from mimir.data.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Progress("build", 2, stream) as at:
        at.stage("reading")
        at.stage("writing")
    lines = stream.getvalue().splitlines()
    assert [line.rsplit(" (", 1)[0] for line in lines] == ["build 1/2 reading", "build 2/2 writing"]


def test_a_bar_on_a_terminal() -> None:
    stream = Terminal()
    with Progress("build", 2, stream) as at:
        at.stage("reading")
        at.stage("writing")
    assert "\r" in stream.getvalue()
    assert "reading" in stream.getvalue()
