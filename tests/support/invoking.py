"""How the tests here call a command."""

from typer.testing import CliRunner

from tadp_cli.main import app


def tadp(*arguments: object, code: int = 0) -> str:
    """Output, its white space folded, of a command that must end with `code`."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return " ".join(result.output.split())
