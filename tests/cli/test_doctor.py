"""`tadp doctor` and `tadp fetch`: what is here, what is missing, and that neither needs a connection."""

import os
import re
import socket
import subprocess
import sys

import pytest
import torch
from typer.testing import CliRunner

from tadp_cli.doctor.machine import attention_backends
from tadp_cli.main import app


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache, and no way to connect."""

    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def tadp(*arguments, code=0):
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output + str(result.exception)
    return result.stdout if code == 0 else result.output  # bars of the libraries go to stderr


def cached(folder, repository, content, file="model_index.json"):
    """The hub's cache with one snapshot of a repository, of a single file."""
    home = folder / f"models--{repository.replace('/', '--')}"
    for name in ("blobs", "refs", f"snapshots/{'0' * 40}"):
        (home / name).mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    (home / "blobs" / "b").write_bytes(content)
    (home / "snapshots" / ("0" * 40) / file).symlink_to(home / "blobs" / "b")
    return home / "snapshots" / ("0" * 40)


def test_doctor_says_what_is_here_and_what_is_not(hub_cache):
    cached(hub_cache, "sd-legacy/stable-diffusion-v1-5", b"x" * 2**20)
    lines = tadp("doctor").splitlines()
    said = {line.split()[0]: line for line in lines if len(line.split()) > 1}
    assert f"{sys.version_info.major}.{sys.version_info.minor}." in said["python"]
    assert "GiB" in said["memory"]
    assert "diffusers" in said
    (tiny,) = [line for line in lines if line.split()[:1] == ["tiny"]]
    assert "comes with the packages" in tiny
    assert any("sd15" in line and "of sd-legacy/stable-diffusion-v1-5" in line for line in lines)
    assert any(line.startswith("- sd21") and "tadp fetch sd21" in line for line in lines)
    assert any(line.startswith("- blip2 ") and "tadp fetch blip2" in line for line in lines)


def test_doctor_names_the_missing_tagger_data(hub_cache, monkeypatch, tmp_path):
    monkeypatch.setattr("nltk.data.path", [str(tmp_path)])
    assert "averaged_perceptron_tagger_eng" in next(
        line for line in tadp("doctor").splitlines() if line.startswith("- NLTK")
    )


def test_doctor_describes_a_backbone_without_its_weights(hub_cache):
    lines = tadp("doctor", "--backbone", "sd21", "--size", "256").splitlines()
    assert lines[2].split() == ["16", "717", "5", "layers", "up_blocks.2.attentions.1"]
    assert any(line.startswith("unet: 865.91 M parameters, ") for line in lines)  # as published
    assert lines[-1] == "GFLOP for one image of 256 x 256"


def test_doctor_describes_a_folder(hub_cache, tmp_path):
    from tadp_backbone import DiffusionBackbone

    DiffusionBackbone.from_pretrained("tiny").save_pretrained(tmp_path / "mine")
    mine, tiny = (
        [
            line
            for line in tadp("doctor", "--backbone", name).splitlines()
            if "up_blocks" in line or "parameters" in line
        ]
        for name in (str(tmp_path / "mine"), "tiny")
    )
    assert len(mine) == 6
    assert mine == tiny


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("doctor", "--backbone", "sd16"), "no backbone 'sd16'", 2),
        (("doctor", "--backbone", "someone/toy"), "'someone/toy' is not here (someone/toy: not in the cache)", 1),
        (("doctor", "--backbone", "tiny", "--size", "0"), "--size is 0", 2),
        (("fetch", "sd16"), "unknown weights 'sd16'; choose from tiny, sd15, sd21, sdxl, ", 2),
        (("fetch", "--offline", "sd21"), "'sd21' is not here (", 1),
        (("fetch", "--offline", "blip2"), "Salesforce/blip2-opt-2.7b is not available", 1),
    ],
)
def test_what_is_wrong_is_one_line(hub_cache, arguments, message, code):
    said = " ".join(tadp(*arguments, code=code).split())
    assert message in said
    assert said.count("error:") == 1
    assert "Traceback" not in said


def test_fetch_offline_says_where_weights_are(hub_cache):
    folder = cached(hub_cache, "sd-legacy/stable-diffusion-v1-5", b"{}")
    said = tadp("fetch", "--offline", "sd15", "tiny").splitlines()
    assert f"sd15: {folder}" in said
    assert [line.partition(",")[0].partition(":")[0] for line in said[-2:]] == ["tiny", "tiny"]
    assert said[-1].startswith("tiny, licence: Apache-2.0")


def test_a_hub_id_is_fetched_as_what_it_holds(hub_cache):
    captioner = cached(hub_cache, "someone/captioner", b'{"model_type": "blip-2"}', "config.json")
    cached(hub_cache, "someone/text", b'{"model_type": "bert"}', "config.json")
    backbone = cached(hub_cache, "someone/backbone", b"{}")
    assert f"someone/backbone: {backbone}" in tadp("fetch", "--offline", "someone/backbone").splitlines()
    refused = " ".join(tadp("fetch", "--offline", "someone/captioner", code=1).split())
    assert "someone/captioner has no weights (*.safetensors) in " in refused
    (captioner / "model.safetensors").write_bytes(b"")
    assert f"someone/captioner: {captioner}" in tadp("fetch", "--offline", "someone/captioner").splitlines()
    refused = " ".join(tadp("fetch", "--offline", "someone/text", code=2).split())
    assert "someone/text holds neither a backbone" in refused
    assert "'bert', expected one of blip-2, florence2" in refused


AUDITED = """
import os, sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        os.write(2, f"{event} {arguments}".encode())
        os._exit(3)  # an exception would be caught, and taken for the command's own failure
sys.addaudithook(refuse)
from typer.testing import CliRunner
from tadp_cli.doctor.machine import attention_backends
from tadp_cli.main import app
for arguments in (command.split() for command in sys.argv[1:]):
    print(arguments, CliRunner().invoke(app, arguments).exit_code)
"""


@pytest.mark.parametrize(
    ("offline", "commands"),
    [
        pytest.param(
            "1", {"fetch tiny": 0, "fetch sd15": 1, "doctor": 0, "doctor --backbone tiny": 0}, marks=pytest.mark.slow
        ),
        pytest.param("0", {"fetch --offline tiny": 0, "fetch --offline blip2": 1}, marks=pytest.mark.slow),
        pytest.param("0", {"fetch --offline sd15": 1}, marks=pytest.mark.slow),
    ],
)
def test_offline_by_the_environment_or_the_option_no_library_asks_for_a_connection(tmp_path, offline, commands):
    environment = {**os.environ, "HF_HUB_OFFLINE": offline, "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", AUDITED, *commands]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    codes = [int(line.split()[-1]) for line in result.stdout.splitlines()]
    assert (codes, result.returncode) == (list(commands.values()), 0), result.stdout + result.stderr


def test_versions_are_held_against_what_is_asked_for_and_tested(repository):
    from packaging.specifiers import SpecifierSet

    from tadp_cli.doctor.versions import TESTED, asked_for, library

    pins = dict(line.split("==") for line in (repository / "constraints.txt").read_text().splitlines() if "==" in line)
    assert {name: pins[name] for name in TESTED} == TESTED
    asked = SpecifierSet(">=2.11,!=2.13.0")
    assert library("torch", "2.15.0", asked).fine
    for wrong in ("2.10.1", "2.13.0", None):
        finding = library("torch", wrong, asked)
        assert not finding.fine
        assert 'pip install "torch' in finding.found
        assert ">=2.11" in finding.found
    assert "newer than tested" in library("torch", "99.0", asked).found
    assert not asked_for().get("torch", asked).contains("2.13.0")


def test_what_fits_is_the_arithmetic_of_the_weights(hub_cache):
    from tadp_cli.doctor.memory_fit import fit, least_bytes

    # Stable Diffusion 1.5 as published: UNet 859.5 M weights.
    parameters = {"unet": 859_520_964, "vae": 34_000_000, "text_encoder": 123_000_000}
    assert least_bytes(parameters, "train the UNet too") == 16 * 859_520_964 + 4 * 157_000_000
    assert least_bytes(parameters, "predict, half precision") == 2 * sum(parameters.values())
    assert "fits on cuda:0" in fit("x", 5, {"cuda:0": 5, "cpu": 4}).found
    assert "does not fit" in fit("x", 6, {"cuda:0": 5, "cpu": 4}).found
    lines = tadp("doctor").splitlines()
    (whole,) = [line for line in lines if re.search(r"(?<!-)sd15: train the UNet too", line)]
    assert "from 13.4 GiB" in whole
    assert any(line.strip().startswith("layers with maps") for line in lines)
    assert any(line.strip().startswith("torch ") and "tested 2." in line for line in lines)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a GPU does")
@pytest.mark.parametrize("chunks", [True, False])
def test_the_attention_of_a_cpu(chunks, monkeypatch):
    monkeypatch.setattr("tadp_backbone.kernels.attention.chunks_are_faster", lambda: chunks)
    found = next(finding for finding in attention_backends() if finding.name == "other layers")
    assert ("in bf16 in chunks of queries" in found.found) is chunks


@pytest.mark.parametrize(
    ("free", "message"), [(1 << 20, "make room, or set HF_HOME"), (8 << 30, "too little for Stable Diffusion")]
)
def test_a_full_disk_is_reported_with_its_remedy(hub_cache, monkeypatch, free, message):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert message in tadp("doctor")
