"""The last line of a command that ran on Scenes: the same command on one's own data."""

from tadp_cli.console.launchers import first_process
from tadp_cli.console.progress import console


def tell_next(command: str) -> None:
    """Print the command for the user's own data."""
    if first_process():
        console.print(f"on your own data: {command}", style="bold", markup=False, highlight=False, soft_wrap=True)
