import pytest

from tadp_cli.console.errors import one_line_errors


@pytest.mark.parametrize(
    ("fail", "shown"),
    [
        (lambda: b"a caf\xe9".decode(), "cannot be read as utf-8 (position 5)"),
        (lambda: "schl\u00fcssel".encode("ascii"), "cannot be written as ascii (position 4)"),
        (lambda: "caf\udce9".encode(), "cannot be written as utf-8 (position 3)"),
    ],
)
def test_an_error_of_a_codec_says_what_stands_where(capsys, fail, shown):
    with pytest.raises(SystemExit) as left, one_line_errors():
        fail()
    assert left.value.code == 2
    assert shown in " ".join(capsys.readouterr().err.split())
