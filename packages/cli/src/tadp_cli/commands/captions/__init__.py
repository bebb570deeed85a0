"""`tadp captions ...`: processing of caption files."""

import typer

from tadp_cli.commands.captions.clean import clean
from tadp_cli.commands.captions.prompts import class_names, modify_captions, nouns, oracle
from tadp_cli.commands.captions.quality import convert, diff, stats
from tadp_cli.commands.captions.review import review

captions_app = typer.Typer(help="Clean, modify, count, compare and convert files of captions.", no_args_is_help=True)

captions_app.command("clean")(clean)
captions_app.command("modify")(modify_captions)
captions_app.command("nouns")(nouns)
captions_app.command("class-names")(class_names)
captions_app.command("oracle")(oracle)
captions_app.command("stats")(stats)
captions_app.command("diff")(diff)
captions_app.command("convert")(convert)
captions_app.command("review")(review)
