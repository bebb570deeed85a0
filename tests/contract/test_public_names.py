"""The names that others import, and that importing a package alone is cheap."""

import importlib
import subprocess
import sys

import pytest

PUBLIC = {
    "tadp_backbone": {"DiffusionBackbone", "BackboneConfig", "Features", "Level", "register_backbone"},
    "tadp_backbone.ldm": {"unet_from_ldm", "vae_from_ldm"},
    "tadp_captioning": {"CaptionStore", "load_captioner", "register_captioner", "register_domain"},
    "tadp_personalize": {"textual_inversion", "dreambooth", "load_token"},
    "tadp_heads": {"PerceptionModel", "register_head", "register_task", "register_dataset"},
    "tadp_heads.segmentation": {"FPNHead", "MeanIoU"},
    "tadp_heads.depth": {"DepthHead", "silog_loss", "depth_metrics"},
    "tadp_heads.detection": {"FasterRCNNHead", "AveragePrecision"},
    "tadp_cli.prompts": {"register_prompt", "PromptKind", "Given"},
}
PACKAGES = [name for name in PUBLIC if "." not in name]


@pytest.mark.parametrize("module", PUBLIC)
def test_the_contract_names_are_public(module):
    imported = importlib.import_module(module)
    assert set(imported.__all__) >= PUBLIC[module]
    for name in imported.__all__:
        assert getattr(imported, name) is not None  # a lazy name has to lead somewhere


def test_importing_the_packages_loads_no_model_library():
    heavy = {"transformers", "diffusers", "openai", "nltk"}
    lines = [f"import {package}; print({package!r}, sorted({heavy!r} & sys.modules.keys()))" for package in PACKAGES]
    code = "\n".join(["import sys", *lines])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.splitlines() == [f"{package} []" for package in PACKAGES], result.stdout + result.stderr


METHODS = {
    "tadp_backbone.DiffusionBackbone": (
        *("from_pretrained", "save_pretrained", "levels", "encode_text", "encode_image", "extract", "optimize"),
        *("load_tokens", "load_lora", "load_unet", "freeze"),
    ),
    "tadp_backbone.Features": ("levels", "attention"),
    "tadp_backbone.Level": ("channels", "stride"),
    "tadp_captioning.CaptionStore": ("read", "open", "add", "write", "get", "records", "missing", "failed"),
    "tadp_heads.PerceptionModel": ("from_pretrained", "save_pretrained", "predict", "predict_batch", "predict_folder"),
    "tadp_heads.segmentation.FPNHead": ("from_reference", "from_pretrained", "save_pretrained"),
    "tadp_heads.depth.DepthHead": ("from_reference", "from_pretrained", "save_pretrained"),
}


@pytest.mark.parametrize("path", METHODS)
def test_the_contract_classes_have_their_methods(path):
    module, _, name = path.rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    known = {*dir(cls), *getattr(cls, "__dataclass_fields__", ())}
    assert known >= set(METHODS[path])
