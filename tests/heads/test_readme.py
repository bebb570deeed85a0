"""The README's example runs as it stands."""

import re

import torch


def test_example(repository):
    text = (repository / "packages" / "heads" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["logits"].shape == torch.Size((2, 3, 64, 96))
    assert 0 <= names["scores"]["mIoU"] <= 1
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
