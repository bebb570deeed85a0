"""Every command that passes images through a backbone has its precision decided in one place."""

import ast

import pytest
import torch
from invoking import tadp

import tadp_cli.precision
from tadp_backbone import DiffusionBackbone
from tadp_backbone.precision import Precision
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.evaluate import evaluated
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.precision import AUTO, COMPILED_FROM, Speed, evaluation_speed, speed_up, with_precision
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.write import write_scenes

LOADERS = {
    "pipelines/loading.py": "what commands pass images through",
    "pipelines/train.py": "what trains",
    "deployment/export.py": "what is exported, in the precision that is asked for",
    "pipelines/memory_estimate.py": "without memory, for arithmetic",
    "run/run.py": "for one's own code in Python",
    "commands/doctor.py": "described, not run",
    "pipelines/caption_quality.py": "texts alone",
    "pipelines/convert_checkpoint.py": "weights alone",
}
"""{module of the command line that loads a backbone or a model: why}."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A segmentation run, trained for one step."""
    root = tmp_path_factory.mktemp("precision")
    data = root / "data"
    write_scenes(data, task="segmentation", domain="photo", split="train", count=2, seed=0)
    settings = ("train.steps=1", "train.batch_size=1", "train.flip=false", "data.val=train", "head.width=8")
    options = [f"--set={setting}" for setting in settings]
    captions = data / "captions_true_train.jsonl"
    tadp("train", "scenes-segmentation", "--data", data, "--captions", captions, "--out", root / "run", *options)
    return root / "run"


@pytest.fixture
def decided(monkeypatch):
    """(asked, device) of each decision."""
    calls, resolve = [], tadp_cli.precision.resolve_precision

    def spy(asked, device, **how):
        calls.append((asked, str(device)))
        return resolve(asked, device, **how)

    monkeypatch.setattr(tadp_cli.precision, "resolve_precision", spy)
    return calls


def image_of(run):
    return run.parent / "data" / "images" / "train_00000.png"


def test_no_other_module_loads_a_backbone(repository):
    source, found = repository / "packages/cli/src/tadp_cli", set()
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if ".from_pretrained(" in text else ():
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("DiffusionBackbone.from_pretrained", "PerceptionModel.from_pretrained"):
                found.add(path.relative_to(source).as_posix())
    assert found <= set(LOADERS)


def test_commands_decide_once_and_say_what_and_why(run, decided, tmp_path):
    image = image_of(run)
    commands = {
        "eval": ("eval", run),
        "predict": ("predict", run, image, "--caption", "a tree", "--out", tmp_path / "predicted"),
        "explain": ("explain", image, "--caption", "a tree", "--out", tmp_path / "words.png"),
        "explain a run": ("explain", image, "--caption", "a tree", "--run", run, "--out", tmp_path / "run.png"),
    }
    for name, words in commands.items():
        decided.clear()
        said = tadp(*words, "--device", "cpu")
        assert len(decided) == 1, name
        assert "precision fp32 (" in said, name


def test_half_precision_reaches_the_backbone_and_hardly_moves_the_numbers(run, tmp_path):
    full, half = (evaluated(run, speed=Speed(precision=name))["metrics"] for name in ("fp32", "bf16"))
    assert half == pytest.approx(full, abs=0.03)
    model = loaded_model(run, Speed(precision="bf16"), "cpu")
    assert model.backbone.unet.dtype == model.backbone.vae.dtype == torch.bfloat16
    assert next(model.head.parameters()).dtype == torch.float32
    said = tadp("explain", image_of(run), "--run", run, "--caption", "a tree", "--out", tmp_path / "a.png",
                "--precision", "bf16")  # fmt: skip
    assert "precision bf16 (as asked" in said
    assert "weights in bfloat16" in said


def test_fp32_leaves_the_model_as_it_is(run, monkeypatch):
    monkeypatch.setattr(DiffusionBackbone, "optimize", lambda *_, **__: pytest.fail("optimized"))
    context, image = torch.zeros(1, 77, 64), torch.zeros(3, 64, 64, dtype=torch.uint8)
    plain = PerceptionModel.from_pretrained(run)
    context = plain.backbone.encode_text(["a tree"])
    got = loaded_model(run, Speed(precision="fp32"), "cpu").predict_tensors([image], context)
    assert torch.equal(got[0], plain.predict_tensors([image], context)[0])


def test_a_run_trained_in_fp32_is_evaluated_in_fp32_unless_asked_otherwise():
    paper, own = load_recipe("ade20k"), load_recipe("ade20k", ("train.precision=bf16",))
    assert evaluation_speed(paper, AUTO).precision == "fp32"
    assert evaluation_speed(paper, Speed(precision="bf16")).precision == "bf16"
    assert evaluation_speed(own, AUTO).precision == "auto"


class Recorded:
    """A backbone that records what it is asked to become."""

    def optimize(self, **how):
        self.how = how
        return ()


@pytest.fixture
def modern_gpu(monkeypatch):
    chosen = Precision("bf16", "a test")
    monkeypatch.setattr(tadp_cli.precision, "resolve_precision", lambda *_, **__: chosen)


@pytest.mark.parametrize(
    ("images", "asked", "read_inside", "compiled", "graphs"),
    [
        (COMPILED_FROM - 1, None, False, False, True),
        (COMPILED_FROM, None, False, True, True),
        (COMPILED_FROM, False, False, False, True),
        (1, True, False, True, True),
        (COMPILED_FROM, True, True, False, False),
    ],
)
def test_what_is_compiled_depends_on_the_command_alone(
    modern_gpu, monkeypatch, images, asked, read_inside, compiled, graphs
):
    monkeypatch.setattr(tadp_cli.precision, "_missing_compiler", lambda kind: "")
    backbone = Recorded()
    speed_up(backbone, "sd15", Speed(compile=asked), "cuda", images=images, read_inside=read_inside)
    assert (backbone.how["compile"], backbone.how["cuda_graphs"]) == (compiled, graphs)
    assert backbone.how["dtype"] == torch.bfloat16


def test_compiling_without_a_compiler_is_one_line(run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    said = tadp("eval", run, "--compile", "--device", "cpu", code=2)
    assert "--compile needs a C++ compiler (g++), and none was found: install one, or leave --compile out" in said


def test_a_precision_that_the_device_lacks_is_one_line(run):
    said = tadp("eval", run, "--precision", "fp16", "--device", "cpu", code=2)
    assert "--precision 'fp16' needs a GPU, and the device is cpu: choose fp32" in said


@pytest.mark.parametrize("first", ["bf16", "fp32"])
def test_training_resolves_auto_once_and_a_resumed_run_keeps_it(monkeypatch, tmp_path, first):
    recipe = load_recipe("ade20k").replace(**{"train.precision": "auto"})

    def auto_is(name):
        found = lambda asked, *_, **__: Precision(name if asked == "auto" else asked, "a test")  # noqa: E731
        monkeypatch.setattr(tadp_cli.precision, "resolve_precision", found)

    auto_is(first)
    chosen = with_precision(recipe, tmp_path, "cpu")
    assert chosen.train.precision == first
    (tmp_path / "config.toml").write_text(chosen.to_toml())
    auto_is("fp16")
    assert with_precision(recipe, tmp_path, "cpu").train.precision == first
