"""Captions reviewed in a browser: the flagged ones first, edits kept in the captions' file."""

from tadp_captioning.review.edits import CaptionReview
from tadp_captioning.review.server import review_server

__all__ = ["CaptionReview", "review_server"]
