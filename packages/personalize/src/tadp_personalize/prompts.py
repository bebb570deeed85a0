"""Sentences around a token: training prompts, and the same sentences without the look's word.

A template is a sentence with `{token}`; square brackets mark what goes away with the token in its plain form, e.g.
"a quiet view [in {token} style]" gives "a quiet view in <watercolor> style" and, plain, "a quiet view".
"""

import re

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

OBJECT_TEMPLATES = (
    "a picture of a [{token}] thing",
    "one [{token}] thing seen from near",
    "a clear photo showing a [{token}] thing",
    "a [{token}] thing on a plain ground",
    "a [{token}] thing outdoors",
    "a small [{token}] thing among others",
    "a bright photo of the [{token}] thing",
    "a dark photo of the [{token}] thing",
)


def check_template(template: str) -> None:
    """Raise unless the token stands in `template`, brackets are closed, and nothing else is to be filled in."""
    bracketed = re.findall(r"\[[^\[\]]*\]", template)
    fields = re.findall(r"\{[^}]*\}", template)
    unbalanced = template.count("[") != len(bracketed) or template.count("]") != len(bracketed)
    if "{token}" not in template or set(fields) != {"{token}"} or unbalanced:
        raise ValueError(
            f"template {template!r} is not a sentence with {{token}}; write for example "
            "'a picture [in {token} style]', where the brackets hold what goes away with the token"
        )


def fill(template: str, token: str) -> str:
    """Return the sentence with the token (or an ordinary word) in its place."""
    return template.replace("[", "").replace("]", "").replace("{token}", token)


def plain(template: str) -> str:
    """Return the sentence without the token and what belongs to it."""
    without = re.sub(r"\[[^\[\]]*\]", "", template).replace("{token}", "")
    return re.sub(r"\s+", " ", without).strip()
