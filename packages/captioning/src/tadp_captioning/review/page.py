"""The page on which captions are reviewed: plain forms, no script."""

from html import escape
from urllib.parse import quote

from tadp_captioning.records import CaptionRecord
from tadp_captioning.review.edits import CaptionReview

_STYLE = (
    ":root{color-scheme:light dark;font:16px/1.4 system-ui,sans-serif}body{max-width:60rem;margin:1rem auto;padding:0 "
    "1rem}form{display:flex;flex-wrap:wrap;gap:1rem;padding:1rem 0;border-top:1px solid #8888}img{width:16rem;"
    "max-height:16rem;object-fit:contain}div{flex:1 1 20rem}textarea{width:100%;font:inherit;box-sizing:border-box}"
    "b{color:#b60}nav a{margin-right:.5rem}"
)


def review_page(review: CaptionReview, number: int) -> str:
    """The captions of a page, counted from 1, each with its image and a form to edit it."""
    links = "".join(f'<a href="/?page={other}">{name}</a>' for name, other in _neighbours(review, number))
    forms = "".join(_form(review, record, number) for record in review.page(number))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Captions</title><style>{_STYLE}</style><body><h1>{len(review.order)} captions, {len(review.flags)} "
        f"flagged</h1><nav>page {number} of {review.pages} {links}</nav>{forms}<nav>{links}</nav></body></html>"
    )


def _neighbours(review: CaptionReview, number: int) -> list[tuple[str, int]]:
    near = [("previous", number - 1), ("next", number + 1)]
    return [(name, other) for name, other in near if 1 <= other <= review.pages]


def _form(review: CaptionReview, record: CaptionRecord, number: int) -> str:
    notes = [f"<b>{escape(', '.join(flags))}</b>"] if (flags := review.flags.get(record.id)) else []
    notes += [escape(record.error)] if record.error else []
    notes += ["edited"] if record.extra.get("edited") else []
    image_id = escape(record.id, quote=True)
    return (
        f'<form method="post" action="/" id="{image_id}"><img loading="lazy" alt="" src="/image?id={quote(record.id)}">'
        f"<div><p>{escape(record.id)} {' · '.join(notes)}</p>"
        f'<textarea name="caption" rows="4" aria-label="caption of {image_id}">{escape(record.caption)}</textarea>'
        f'<input type="hidden" name="id" value="{image_id}"><input type="hidden" name="page" value="{number}">'
        f"<button>Keep this caption</button></div></form>"
    )
