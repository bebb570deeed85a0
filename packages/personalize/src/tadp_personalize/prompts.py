"""Sentences around a token: training prompts, and the same sentences without the domain's word.

A template is a sentence with `{token}`; square brackets mark what goes away with the token in its plain form, e.g.
"a quiet view [in {token} style]" gives "a quiet view in <watercolor> style" and, plain, "a quiet view". A template may
also have `{caption}`, where a captioner's words for the content are put, so that the domain is left to the token.
"""

import re
from collections.abc import Sequence

STYLE_TEMPLATES = (
    "a [{token} style] painting",
    "a picture [in {token} style]",
    "a [{token} style] picture",
    "a scene [in {token} style]",
    "an image [in the style of {token}]",
    "a small picture [in {token} style]",
    "a detailed picture [in {token} style]",
    "a [{token} style] view of a few things",
    "objects side by side [in {token} style]",
    "a plain background with objects [in {token} style]",
    "something drawn [in the style of {token}]",
    "a close view [in {token} style]",
)

REFERENCE_STYLE_TEMPLATES = tuple(
    f"{phrase} [in the style of {{token}}]"
    for phrase in (
        *("a painting", "a rendering", "a cropped painting", "the painting", "a clean painting", "a dirty painting"),
        *("a dark painting", "a picture", "a cool painting", "a close-up painting", "a bright painting"),
        *("a cropped painting", "a good painting", "a close-up painting", "a rendition", "a nice painting"),
        *("a small painting", "a weird painting", "a large painting"),
    )
)
"""The 19 sentences by which the paper's Textual Inversion was trained, two of them twice (docs/reference.md)."""

REFERENCE_DREAMBOOTH_TEMPLATES = ("an image [in {token} style]",)
"""The one sentence by which the paper's DreamBooth was trained."""

CAPTION_TEMPLATES = (
    "[a {token} style painting of] {caption}",
    "[a {token} style drawing of] {caption}",
    "[a {token} style picture of] {caption}",
)
"""Around what a captioner says of each image; the first is the sentence in which the tokens are used."""


def check_template(template: str) -> None:
    """Raise unless the token occurs in `template`, brackets are closed, and only a caption outside them is filled in.

    The caption stays in the plain form: it describes the content of the image, not its style.
    """
    bracketed = re.findall(r"\[[^\[\]]*\]", template)
    fields = re.findall(r"\{[^}]*\}", template)
    unbalanced = template.count("[") != len(bracketed) or template.count("]") != len(bracketed)
    caption_goes = any("{caption}" in part for part in bracketed)
    if "{token}" not in template or set(fields) - {"{token}", "{caption}"} or unbalanced or caption_goes:
        raise ValueError(
            f"template {template!r} is not a sentence with {{token}}; write for example "
            "'a picture [in {token} style]', where brackets enclose what is removed with the token; {caption} may "
            "stand outside them"
        )


def fill(template: str, token: str, caption: str = "") -> str:
    """Return the sentence with the token (or an ordinary word) and the caption in their places."""
    return template.replace("[", "").replace("]", "").replace("{token}", token).replace("{caption}", caption).strip()


def plain(template: str, caption: str = "") -> str:
    """Return the sentence without the token and what belongs to it."""
    without = re.sub(r"\[[^\[\]]*\]", "", template).replace("{token}", "")
    return re.sub(r"\s+", " ", without).strip().replace("{caption}", caption)


def takes_captions(templates: Sequence[str]) -> bool:
    """Whether any of the sentences has a place for an image's caption."""
    return any("{caption}" in template for template in templates)
