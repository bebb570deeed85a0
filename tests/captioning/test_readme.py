import re

from tadp_captioning import CaptionStore
from tadp_captioning.registry import CAPTIONERS, CaptionerSpec


def test_the_readmes_example_runs(repository, blip2_folder, image_folder, tmp_path, monkeypatch, capsys):
    """As a script of its own would, with a toy in the place of the shipped captioner."""
    readme = (repository / "packages" / "captioning" / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(example.splitlines()) <= 10
    image_folder.rename(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(CAPTIONERS, "tiny", CaptionerSpec(model=str(blip2_folder)))
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert len(CaptionStore.read("captions.jsonl")) == len(CaptionStore.read("cleaned.json")) == 7
    assert capsys.readouterr().out.count("a watercolor style painting") == 7
