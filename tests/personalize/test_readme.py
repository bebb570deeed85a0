import json
import re

from diffusers import StableDiffusionPipeline


def test_the_example_runs(request, tmp_path, monkeypatch, make_pipeline, make_pictures):
    readme = request.config.rootpath / "packages" / "personalize" / "README.md"
    example = re.search(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert len(example.strip().splitlines()) <= 10
    make_pipeline().save_pretrained(tmp_path / "my-model")
    for name, seed in (("watercolors", 0), ("more-watercolors", 1)):
        (tmp_path / name).mkdir()
        for i, picture in enumerate(make_pictures(4, seed=seed)):
            picture.save(tmp_path / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert isinstance(names["pipe"], StableDiffusionPipeline)
    assert "<watercolor>" in names["pipe"].tokenizer.get_vocab()
    results = json.loads((tmp_path / "token" / "results.json").read_text(encoding="utf-8"))
    assert results["held_out"]["after"] == names["result"].after
