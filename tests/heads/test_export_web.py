"""The page's folder without its graphs, and the package of npm that it needs."""

import base64
import hashlib
import io
import json
import os
import re
import tarfile

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import CLIPTokenizer

from tadp_backbone import BackboneConfig
from tadp_backbone.registry import TINY_FOLDER
from tadp_heads.export.web import DemoImage, runtime, scene_images, site, write_site
from tadp_heads.export.web.graph import MapsGraph

CONTENT = {name: name.encode() for name in runtime.FILES}


class Backbone(nn.Module):
    """What a page asks of a backbone; its attention at stride 8 is twice that at stride 4."""

    size_multiple = 16

    def __init__(self, width=4, **changes):
        super().__init__()
        self.config = BackboneConfig(map_strides=(4, 8), **changes)
        self.tokenizer = CLIPTokenizer.from_pretrained(TINY_FOLDER / "tokenizer")
        self.weights = nn.Linear(width, 1)

    def forward(self, images, context):
        self.levels = ()
        height, width = images.shape[-2:]
        self.attention = {
            stride: torch.full((1, 3, height // stride, width // stride), stride / 4) for stride in (4, 8)
        }
        return self


@pytest.fixture
def quick(monkeypatch):
    """No graphs, which the extra tadp-heads[export] writes, and nothing fetched."""
    monkeypatch.setattr(site, "ONNX_PACKAGES", ())
    monkeypatch.setattr(site, "_graphs", lambda *_: ({"model.onnx": b"model", "text.onnx": b"text"}, []))
    monkeypatch.setattr(runtime, "runtime_files", lambda: CONTENT)


def write(folder, backbone=None, **options):
    return write_site(folder, backbone or Backbone(), scene_images(), title="<t>", licence="MIT", **options)


def test_maps_of_the_strides_are_averaged_at_the_finest():
    (maps,) = MapsGraph(Backbone(), None)(torch.zeros(1, 3, 32, 64), None)
    torch.testing.assert_close(maps, torch.full((1, 3, 8, 16), 1.5))


def test_the_folder_has_all_that_the_page_asks_for(quick, tmp_path):
    folder = tmp_path / "site"
    write(folder)
    text = (folder / "index.html").read_text()
    asked = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {name for name in asked if not name.startswith("data:")} == {
        path.name for path in folder.iterdir() if path.suffix in (".js", ".css")
    }
    assert "//" not in "".join(asked)
    first, _ = (folder / "data.js").read_text().split("\n", 1)
    settings = json.loads(first.removeprefix("const site = ").removesuffix(";"))
    assert settings["size"] == [64, 64]
    assert settings["images"][2]["caption"].startswith("a watercolor painting of")
    assert "onnxruntime-web" in (folder / "LICENCES.txt").read_text()
    write(folder)  # in the place of the older page


def test_scenes_in_other_sizes_are_scaled_to_what_the_model_takes(quick, tmp_path):
    images = [DemoImage(name="a", caption="b", image=Image.new("RGB", (40, 30)))]
    write_site(tmp_path / "site", Backbone(), images, title="t", licence="l")
    assert '"size": [32, 48]' in (tmp_path / "site" / "data.js").read_text()


def test_a_folder_of_something_else_is_left_alone(quick, tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(ValueError, match="is no page of an earlier export: choose another folder"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_page_that_is_too_large_is_not_written(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "LARGEST_SITE", 1000)
    with pytest.raises(ValueError, match="the page would have 0 MB, the limit is 0"):
        write(tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ({"width": 13_000_000}, "the backbone has 13 million parameters: a page holds 12 million at most"),
        ({"class_words": (("tree",),)}, "export a model whose backbone gives maps by token"),
    ],
)
def test_what_no_page_can_show(quick, tmp_path, backbone, message):
    with torch.device("meta"):
        made = Backbone(**backbone)
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "site", made)


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A command `npm` of these lines of shell, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}/usr/bin{os.pathsep}/bin")

    def make(lines):
        (tools / "npm").write_text(f"#!/bin/sh\n{lines}\n")
        (tools / "npm").chmod(0o755)

    return make


def archive(path):
    with tarfile.open(path, "w:gz") as package:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
    return base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def test_the_package_is_fetched_once_and_checked(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "SHA512", archive(tmp_path / "published.tgz"))
    npm(f'test "$2" = onnxruntime-web@{runtime.VERSION} && cp {tmp_path}/published.tgz "$5/{runtime._ARCHIVE}"')
    assert runtime.runtime_files() == CONTENT
    npm("exit 1")
    assert runtime.runtime_files() == CONTENT
    kept = tmp_path / "cache" / "tadp" / runtime._ARCHIVE
    kept.write_bytes(kept.read_bytes() + b"more")
    with pytest.raises(RuntimeError, match=r"is not onnxruntime-web .* as it was published"):
        runtime.runtime_files()


def test_without_a_network_one_line_says_what_to_do(npm, monkeypatch):
    npm("echo 'npm error code ENOTFOUND' >&2; echo more >&2; exit 1")
    with pytest.raises(RuntimeError, match=r"could not fetch .* \(npm error code ENOTFOUND\): fetch .* and put it at"):
        runtime.runtime_files()
    monkeypatch.setattr(runtime.shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match=r"there is no npm to fetch it: fetch onnxruntime-web-1.* and put it at"):
        runtime.runtime_files()
