"""Folders, names and hubs."""

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from tadp_backbone import DiffusionBackbone, fetch


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def features_of(backbone):
    images = torch.rand(1, 3, 70, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return backbone(images, backbone.encode_text(["a photo <look> cat"]))


def test_what_is_saved_is_read_back_with_learned_tokens_and_adapters(make_backbone, tmp_path, no_network):
    backbone = make_backbone(text=True, vae=True, text_adapter=True, learnt_context=4, timestep=3, map_strides=(8,))
    save_file({"<look>": torch.randn(3, 64)}, tmp_path / "learned_embeds.safetensors")
    assert backbone.load_tokens(tmp_path) == ["<look>"]
    torch.nn.init.normal_(backbone.text_adapter.gamma)
    backbone.save_pretrained(tmp_path / "saved")
    backbone.save_pretrained(tmp_path / "saved")  # over itself
    again = DiffusionBackbone.from_pretrained(tmp_path / "saved")
    assert again.config == backbone.config
    before, after = backbone.state_dict(), again.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
    # Where tensors lie in memory decides the order of a sum: the last digits of the features may differ.
    for a, b in zip(features_of(again).levels, features_of(backbone).levels, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    there = {path.name for path in (tmp_path / "saved").iterdir()}
    folders = {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}
    assert there == {"adapters.safetensors", "config.json", "model_index.json"} | folders


def test_a_saved_folder_is_a_diffusers_pipeline(make_backbone, tmp_path):
    make_backbone(text=True, vae=True).save_pretrained(tmp_path)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline("a cat", num_inference_steps=1, height=64, width=64, output_type="np").images
    assert images.shape == (1, 64, 64, 3)


def test_fields_of_the_config_can_be_changed_while_loading(make_backbone, tmp_path):
    make_backbone(vae=True).save_pretrained(tmp_path)
    backbone = DiffusionBackbone.from_pretrained(tmp_path, map_strides=(), timestep=9, dtype=torch.bfloat16)
    assert (backbone.config.timestep, backbone.config.map_strides) == (9, ())
    assert backbone.unet.dtype == backbone.vae.dtype == torch.bfloat16
    assert backbone.vae.decoder is None
    assert DiffusionBackbone.from_pretrained(tmp_path, keep_decoder=True).vae.decoder is not None
    with pytest.raises(ValueError, match="has no time_step; its fields are timestep, "):
        DiffusionBackbone.from_pretrained(tmp_path, time_step=9)


def test_a_damaged_folder_is_refused(make_backbone, tmp_path):
    make_backbone().save_pretrained(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    whole = load_file(weights)
    save_file({key: value for key, value in whole.items() if key != "conv_in.weight"}, weights)
    with pytest.raises(ValueError, match=r"1 tensors missing, the first is conv_in\.weight"):
        DiffusionBackbone.from_pretrained(tmp_path)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read"):
        DiffusionBackbone.from_pretrained(tmp_path)
    weights.parent.rename(tmp_path / "net")
    with pytest.raises(ValueError, match=r"unet/config\.json is missing, there is config\.json, model_index\.json"):
        DiffusionBackbone.from_pretrained(tmp_path)


@pytest.mark.parametrize("source", ["sd16", "./nowhere", "models/sd/v1.safetensors", "/nowhere/at/all"])
def test_an_unknown_name_lists_the_choices(source):
    with pytest.raises(
        ValueError, match="choose from tiny, sd15, sd21, sdxl, cleandift-sd15, cleandift-sd21, a hub id"
    ):
        DiffusionBackbone.from_pretrained(source)


def test_offline_opens_no_connection_and_says_what_to_do(no_network, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"tadp fetch sd15.*unet/diffusion_pytorch_model\.safetensors"):
        DiffusionBackbone.from_pretrained("sd15", offline=True)


def cached_on_hub(folder, repository):
    """The hub's cache with one snapshot of a repository."""
    home = folder / f"models--{repository.replace('/', '--')}"
    snapshot = home / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    return snapshot


def test_what_any_mirror_gave_is_found_in_the_cache(make_backbone, no_network, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    interrupted = cached_on_hub(tmp_path, "runwayml/stable-diffusion-v1-5")
    make_backbone().save_pretrained(interrupted)
    (interrupted / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    snapshot = cached_on_hub(tmp_path, "sd-legacy/stable-diffusion-v1-5")
    make_backbone(vae=True).save_pretrained(snapshot)
    assert fetch("sd15", offline=True) == fetch("sd15") == snapshot
    assert not [record for record in caplog.records if record.name.startswith("tadp_backbone")]
    backbone = DiffusionBackbone.from_pretrained("sd15", offline=True)
    assert backbone.unet.config.block_out_channels == [32, 64, 128, 128]


def test_a_hub_id_is_read_from_the_cache(make_backbone, no_network, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    make_backbone(map_strides=(8,)).save_pretrained(cached_on_hub(tmp_path, "someone/toy"))
    assert DiffusionBackbone.from_pretrained("someone/toy", offline=True).config.map_strides == (8,)


def bare_tokenizer(folder):
    """Only vocab.json and merges.txt, as CLIP was first published: nothing says how long a text may be."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    for file in folder.iterdir():
        file.unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))


def with_names(file, rename):
    save_file({rename(name): tensor for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})


def test_folders_written_by_the_first_versions_of_the_libraries(make_backbone, tmp_path):
    """The hub's Stable Diffusion: attention of the VAE under old names, CLIP's layers below text_model."""
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

    def old_vae(name):
        for new, before in old.items():
            name = name.replace(new, before)
        return name

    source = make_backbone(text=True, vae=True)
    source.save_pretrained(tmp_path)
    with_names(tmp_path / "vae" / "diffusion_pytorch_model.safetensors", old_vae)
    with_names(tmp_path / "text_encoder" / "model.safetensors", lambda n: f"text_model.{n.removeprefix('text_model.')}")
    bare_tokenizer(tmp_path / "tokenizer")
    again = DiffusionBackbone.from_pretrained(tmp_path)
    assert again.tokenizer.model_max_length == 77
    images = torch.rand(1, 3, 16, 16)
    assert_close(again.encode_text(["a photo of cats"]), source.encode_text(["a photo of cats"]))
    assert_close(again.encode_image(images), source.encode_image(images))


def test_a_config_of_something_else_is_refused(make_backbone, tmp_path):
    make_backbone().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 3}))
    with pytest.raises(ValueError, match="has 'hidden_size', which BackboneConfig has not"):
        DiffusionBackbone.from_pretrained(tmp_path)


def test_other_unet_weights(make_backbone, inputs, tmp_path):
    backbone, other = make_backbone(), make_backbone(seed=5)
    other.unet.save_pretrained(tmp_path / "a")
    other.save_pretrained(tmp_path / "b")
    with torch.no_grad():
        expected = other.extract(*inputs).levels[0]
        assert_close(backbone.load_unet(tmp_path / "a").extract(*inputs).levels[0], expected)
        assert_close(make_backbone().load_unet(tmp_path / "b").extract(*inputs).levels[0], expected)
    narrow = UNet2DConditionModel(block_out_channels=(32, 64, 64, 64), cross_attention_dim=64)
    narrow.save_pretrained(tmp_path / "narrow")
    with pytest.raises(
        ValueError, match=r"has block_out_channels \[32, 64, 64, 64\], this backbone's has \[32, 64, 128"
    ):
        backbone.load_unet(tmp_path / "narrow")
    with pytest.raises(ValueError, match=r"has no config\.json"):
        backbone.load_unet(tmp_path / "nowhere")


def blob_id(content):
    """Git's name for a file's content."""
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub(repositories):
    """A model hub on this machine: yields (its address, the paths it was asked for). {repository: {file: bytes}}"""
    commit, asked = "1" * 40, []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            asked.append(self.path)
            parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
            is_api = parts[:2] == ["api", "models"]
            repository = "/".join(parts[2:4] if is_api else parts[:2])
            files = repositories.get(repository)
            body = None
            if files is not None and is_api and "tree" in parts:
                rows = [{"type": "file", "path": n, "size": len(f), "oid": blob_id(f)} for n, f in files.items()]
                body = json.dumps(rows).encode()
            elif files is not None and is_api:
                body = json.dumps({"id": repository, "modelId": repository, "sha": commit}).encode()
            elif files is not None:
                body = files.get("/".join(parts[4:]))
            self.send_response(404 if body is None else 200)
            if body is None:
                self.send_header("X-Error-Code", "RepoNotFound" if files is None else "EntryNotFound")
            self.send_header("Content-Length", str(len(body or b"")))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{blob_id(body or b"")}"')
            self.end_headers()
            if with_body and body is not None:
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


FETCH_TWICE = """
import logging
logging.basicConfig(format="%(name)s %(message)s")
from tadp_backbone import fetch
print(fetch("sd15"))
print(fetch("sd15"))
"""


def test_weights_come_once_from_the_first_mirror_that_has_them(make_backbone, tmp_path):
    """Through the hub's own client and real connections, in a process whose settings are its own."""
    source = tmp_path / "source"
    make_backbone(vae=True).save_pretrained(source)
    (source / "huge.ckpt").write_bytes(b"not wanted")
    files = {str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*") if file.is_file()}
    with hub({"sd-legacy/stable-diffusion-v1-5": files}) as (address, asked):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        result = subprocess.run([sys.executable, "-c", FETCH_TWICE], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    assert first == second
    for name, content in files.items():
        assert name == "huge.ckpt" or (Path(first) / name).read_bytes() == content
    gone = [line for line in result.stderr.splitlines() if line.startswith("tadp_backbone")]
    assert len(gone) == 1
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5 is not available (" in gone[0]
    assert not any("huge.ckpt" in path or "runwayml" in path for path in asked)
    asked_for_the_gone = [path for path in asked if "stable-diffusion-v1-5/stable-diffusion-v1-5" in path]
    downloads = [path for path in asked if path.endswith("unet/diffusion_pytorch_model.safetensors")]
    assert 0 < len(asked_for_the_gone) <= 2
    assert 0 < len(downloads) <= 2  # the question about its size and the download
