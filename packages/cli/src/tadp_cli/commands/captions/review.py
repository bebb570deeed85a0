"""`tadp captions review`: captions in a browser, edits kept."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.captions_options import FileArgument
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.progress import console


def review(
    file: FileArgument,
    data: Annotated[
        list[str] | None, typer.Argument(help="the images, as for `tadp caption`; none: the files that FILE names")
    ] = None,
    split: Annotated[str, typer.Option(help="split of the data set; needed for NAME:FOLDER")] = "",
    port: Annotated[int, typer.Option(help="port on this machine; 0: one that is free")] = 7861,
) -> None:
    """Review captions in a browser, those with a defect first; an edit is kept in FILE at once.

    `tadp caption` leaves edited captions alone. Only this machine is served.

    Example: `tadp captions review captions.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore
        from tadp_captioning.review import CaptionReview, review_server
        from tadp_cli.inputs.named_images import named_images
        from tadp_cli.run.lock import file_lock

        if not Path(file).is_file():
            raise ValueError(f"{file}: no such file; `tadp caption` writes one")
        with file_lock(file):
            images = named_images(data, split) if data else None
            reviewed = CaptionReview(CaptionStore.open(file), images)
            with review_server(reviewed, port) as server:
                address = f"http://127.0.0.1:{server.server_port}/"
                console.print(
                    f"{len(reviewed.order)} captions, {len(reviewed.flags)} flagged: {address}  Ctrl-C stops",
                    markup=False,
                )
                server.serve_forever()
