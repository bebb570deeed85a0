"""Answers of a paid model on disk, so that nothing is paid for twice."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from tadp_captioning.jsonl import append_rows, read_rows


def default_cache() -> Path:
    """The user's file for cleaned captions, below XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tadp" / "cleaned-captions.jsonl"


class AnswerCache:
    """Answers by server, model, prompt and text, in a JSON Lines file that several processes may share."""

    def __init__(self, path: Path, *, base_url: str, model: str, prompt: str):
        self.path = path
        self._asked = (base_url, model, prompt)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._answers = {row["key"]: row["answer"] for _, row in read_rows(path)} if path.exists() else {}

    def get(self, text: str) -> str | None:
        """The answer to this text, or None."""
        return self._answers.get(self._key(text))

    def add(self, answers: Mapping[str, str]) -> None:
        """Keep {text: answer}, on disk before this returns."""
        rows = {self._key(text): answer for text, answer in answers.items()}
        append_rows(self.path, ({"key": key, "answer": answer} for key, answer in rows.items()))
        self._answers |= rows

    def _key(self, text: str) -> str:
        return hashlib.sha256(json.dumps([*self._asked, text]).encode()).hexdigest()
