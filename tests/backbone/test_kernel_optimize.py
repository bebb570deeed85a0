"""`DiffusionBackbone.optimize`: faster passes, the same numbers."""

import shutil
from collections import Counter
from copy import deepcopy

import pytest
import torch
from baselines import random_backbone
from diffusers import UNet2DConditionModel
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from tadp_backbone import BackboneConfig, DiffusionBackbone, optimizing, record_cross_attention
from tadp_backbone.inputs import Inputs
from tadp_backbone.kernels.available import HAS_TRITON
from tadp_backbone.kernels.resnets import ChannelsLastTransformer, FusedResnetBlock
from tadp_backbone.optimizing import CAPTURED_FROM, MOST_GRAPHS, graph_key, plain_tensors
from tadp_backbone.recording import record_self_attention


def difference(got, expected):
    """Largest relative difference of a level or a map, by norm."""
    pairs = [*zip(got.levels, expected.levels, strict=True)]
    pairs += [(got.attention[stride], expected.attention[stride]) for stride in expected.attention]
    return max(((a.float() - b).norm() / b.norm()).item() for a, b in pairs)


def test_channels_last_gives_the_same_numbers(make_backbone):
    backbone = make_backbone(vae=True)
    images, context = torch.rand(1, 3, 64, 64) * 2 - 1, torch.randn(1, 7, 64)
    with torch.no_grad():
        expected = backbone(images, context)
        done = backbone.optimize(channels_last=True)
        got = backbone(images, context)
    assert difference(got, expected) < 1e-4
    assert len(done) == 1
    assert "channels_last" in done[0]
    assert backbone.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert (
        type(backbone.unet.mid_block.resnets[0]) is type(backbone.vae.encoder.mid_block.resnets[0]) is FusedResnetBlock
    )
    assert type(backbone.unet.mid_block.attentions[0]) is ChannelsLastTransformer


def test_bfloat16_stays_within_what_is_promised(make_backbone, inputs):
    """About 2 %: between 1.8 and 2.4 for weights of six seeds, with torch's attention as with chunks of queries."""
    backbone = make_backbone()
    with torch.no_grad():
        expected = backbone.extract(*inputs)
        done = backbone.optimize(dtype=torch.bfloat16)
        got = backbone.extract(*inputs)
    assert got.levels[0].dtype == torch.bfloat16
    assert difference(got, expected) < 3e-2
    assert done[0] == "weights in bfloat16"


def test_training_works_and_gradients_stay(make_backbone, inputs):
    def gradient(optimized):
        backbone = make_backbone()
        if optimized:
            backbone.optimize()
        backbone.extract(*inputs).levels[0].square().mean().backward()
        return {name: p.grad for name, p in backbone.unet.named_parameters() if p.grad is not None}

    got, expected = gradient(True), gradient(False)
    assert list(got) == list(expected)
    for name, grad in expected.items():
        assert_close(got[name], grad, atol=1e-6, rtol=1e-3, msg=name)


def test_a_saved_backbone_does_not_show_it(make_backbone, tmp_path):
    plain, optimized = make_backbone(), make_backbone()
    optimized.optimize()
    for backbone, name in ((plain, "a"), (optimized, "b")):
        backbone.unet.save_pretrained(tmp_path / name)
    file = "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.fixture
def compiled():
    """Call it for how many graphs were compiled since the last call."""
    torch.compiler.reset()  # what other tests compiled would serve here too

    def count():
        graphs = counters["stats"]["unique_graphs"]
        counters.clear()
        return graphs

    count()
    return count


@pytest.mark.slow
def test_blocks_are_compiled_once_per_size(make_backbone, inputs, compiled):
    """Beyond torch's limit of 8 compilations; the recorders of each pass are new, and compiled the second pass anew."""
    backbone, context = make_backbone(), inputs[1]
    sizes = [torch.randn(2, 4, side, side) for side in (8, 24, 40)]
    with torch.no_grad():
        expected = [backbone.extract(latents, context) for latents in sizes]
        done = backbone.optimize(channels_last=False, compile="eager")
        got = [(backbone.extract(latents, context), compiled()) for latents in sizes]
        again = backbone.extract(sizes[0], context)
    assert done == ("16 transformer blocks compiled by eager, at their first run for each size",)
    assert [graphs for _, graphs in got] == [12] * 3, "three graphs for each of four sizes of blocks"
    assert compiled() == 0
    for one, other in zip([*(one for one, _ in got), again], [*expected, expected[0]], strict=True):
        assert difference(one, other) < 1e-5


def test_blocks_run_uncompiled_beyond_the_limit(make_backbone, inputs, compiled, monkeypatch):
    backbone = make_backbone()
    monkeypatch.setattr(optimizing, "MAX_COMPILATIONS", 2)
    with torch.no_grad():
        expected = backbone.extract(*inputs)
        backbone.optimize(channels_last=False, compile="eager")
        assert difference(backbone.extract(*inputs), expected) < 1e-5
    assert 0 < compiled() < 12


def test_all_maps_can_be_recorded_around_compiled_blocks(make_backbone, inputs, compiled):
    backbone = make_backbone()
    with torch.no_grad():
        expected = backbone.extract(*inputs)
        backbone.optimize(channels_last=False, compile="eager")
        backbone.extract(*inputs)
        assert compiled() == 12
        with record_cross_attention(backbone.unet) as maps, record_self_attention(backbone.unet) as own:
            got = backbone.extract(*inputs)
    assert len(maps) == len(own) == 16
    assert difference(got, expected) < 1e-5
    assert compiled() == 0


def test_hooks_inside_compiled_blocks_are_called(make_backbone, inputs, compiled):
    """Those put in before and later; torch looks for neither by itself."""
    backbone, calls = make_backbone(), Counter()
    block = backbone.unet.mid_block.attentions[0].transformer_blocks[0]
    block.ff.register_forward_hook(lambda *_: calls.update(["ff"]))
    with torch.no_grad():
        backbone.optimize(channels_last=False, compile="eager")
        backbone.extract(*inputs)
        block.norm1.register_forward_hook(lambda *_: calls.update(["norm1"]))
        backbone.extract(*inputs)
    assert calls == {"ff": 2, "norm1": 1}


def test_a_copy_of_a_compiled_backbone_has_weights_of_its_own(make_backbone, inputs, compiled):
    backbone = make_backbone()
    backbone.optimize(channels_last=False, compile="eager")
    copy = deepcopy(backbone)
    for weight in backbone.unet.parameters():
        weight.data.zero_()
    with torch.no_grad():
        assert difference(copy.extract(*inputs), make_backbone().extract(*inputs)) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's inductor needs a C++ compiler on the CPU")
@pytest.mark.filterwarnings("default")  # torch's own compiler warns of what it does
def test_inductor_compiles_the_blocks(tmp_path, monkeypatch, compiled):
    """One level with text and one without, two images of one size and one of another."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        mid_block_type=None,
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=8,
    )
    backbone = DiffusionBackbone(
        unet=unet.eval(), config=BackboneConfig(map_strides=(8,), taps=("up_blocks.0", "up_blocks.1"))
    )
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 7, 16)
    passes = latents, -latents, torch.randn(1, 4, 8, 12)
    with torch.no_grad():
        expected = [backbone.extract(x, context) for x in passes]
        backbone.optimize(compile=True)
        got = [(backbone.extract(x, context), compiled()) for x in passes]
    assert [graphs for _, graphs in got] == [3, 0, 3]
    for (one, _), other in zip(got, expected, strict=True):
        assert difference(one, other) < 1e-5


@pytest.fixture
def launched(monkeypatch):
    """How often each kernel would be launched: tensors without data that claim to lie on a GPU can start none."""
    calls = Counter()
    if HAS_TRITON:
        from tadp_backbone.kernels import cross_attention_op
        from tadp_backbone.kernels.tiles import Launch

        monkeypatch.setattr(Launch, "run", lambda self: calls.update([self.kernel.__name__]))
        monkeypatch.setattr(cross_attention_op, "aligned", lambda x: x)
    return calls


@pytest.mark.skipif(not HAS_TRITON, reason="needs Triton")
def test_on_a_gpu_all_resnets_and_map_layers_take_the_kernels(launched):
    """All blocks see channels_last memory there."""
    backbone = random_backbone("toy")
    backbone.optimize()
    blocks = Counter(type(m) for m in (*backbone.unet.modules(), *backbone.vae.encoder.modules()))
    resnets, transformers = blocks[FusedResnetBlock], blocks[ChannelsLastTransformer]

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = backbone

        def forward(self, images, context):
            return backbone.extract(backbone.vae.encode(images).latent_dist.mode(), context)

    whole = Whole()
    with FakeTensorMode(), torch.no_grad():
        weights = {
            name: torch.empty_strided(x.shape, x.stride(), device="cuda") for name, x in whole.named_parameters()
        }
        inputs = torch.empty(2, 3, 128, 128, device="cuda"), torch.empty(2, 7, 64, device="cuda")
        torch.func.functional_call(whole, weights, inputs)
    assert (resnets, transformers) == (32, 16)
    assert launched["add_in_place"] == resnets
    assert launched["activate"] == 2 * resnets + transformers
    assert launched["attend"] == 10  # the layers of strides 16 and 32


def test_cuda_graphs_need_cuda(make_backbone):
    with pytest.raises(
        ValueError, match="cuda_graphs needs the backbone on a CUDA device, it is on cpu: move it first"
    ):
        make_backbone().optimize(cuda_graphs=True)


def test_a_graph_is_for_one_state_of_autocast():
    inputs = Inputs(torch.ones(1), torch.zeros(1, 7, 64), torch.zeros(1, 7, 0), latents=torch.zeros(1, 4, 8, 8))
    keys = [graph_key(inputs), graph_key(inputs._replace(latents=inputs.latents.half()))]
    keys.append(graph_key(inputs._replace(step_noise=inputs.latents)))
    with torch.autocast("cpu", torch.bfloat16):
        keys.append(graph_key(inputs))
    with torch.autocast("cpu", torch.float16):
        keys.append(graph_key(inputs))
    assert len(set(keys)) == len(keys)
    assert graph_key(inputs) == keys[0]


def test_buffers_made_in_inference_mode_can_be_written_to_later():
    """An inference tensor refuses `copy_` under no_grad; a graph captured in inference mode was lost."""
    with torch.inference_mode():
        given = torch.zeros(2)
        with plain_tensors():
            buffer = given.clone()
    with torch.no_grad():
        assert buffer.copy_(torch.ones(2)).sum() == 2
    assert not buffer.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_replay_in_every_mode_and_are_bounded(make_backbone, inputs):
    backbone = make_backbone().to("cuda")
    latents, context = (x.to("cuda") for x in inputs)
    with torch.no_grad():
        plain = backbone.extract(latents, context)
        backbone.optimize(channels_last=False, cuda_graphs=True)
        with torch.inference_mode():
            for _ in range(CAPTURED_FROM):
                backbone.extract(latents, context)
        assert difference(backbone.extract(-latents, context), plain) > 1e-2
        assert difference(backbone.extract(latents, context), plain) < 1e-4
        with torch.autocast("cuda", torch.bfloat16):
            for _ in range(CAPTURED_FROM):
                assert difference(backbone.extract(latents, context), plain) > 1e-4
        for tokens in range(1, MOST_GRAPHS + 3):
            for _ in range(CAPTURED_FROM):
                backbone.extract(latents, context[:, :1].repeat(1, tokens, 1))
    assert len(backbone.compute.graphs) == MOST_GRAPHS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("config", [{}, {"posterior": "sample", "noise": True}])
def test_a_graph_begins_at_the_pixels(make_backbone, config):
    backbone = make_backbone(vae=True, **config).to("cuda")
    images, context = torch.rand(2, 3, 64, 64, device="cuda") * 2 - 1, torch.randn(2, 7, 64, device="cuda")

    def draw(seed):
        return backbone(images, context, generator=torch.Generator("cuda").manual_seed(seed))

    with torch.no_grad():
        plain = [draw(seed) for seed in range(2)]
        backbone.optimize(channels_last=False, cuda_graphs=True)
        for _ in range(CAPTURED_FROM):
            draw(1)
        assert len(backbone.compute.graphs) == 1
        for seed in range(2):
            assert difference(draw(seed), plain[seed]) < 1e-3


class Waits(TorchDispatchMode):
    """Notes what has the host wait for a GPU, or copies from one place to the other."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        places = {x.device.type for x in (*args, result) if isinstance(x, torch.Tensor) and x.ndim}
        if "local_scalar_dense" in str(function) or ("copy" in str(function) and len(places) > 1):
            self.found.append((str(function), places))
        return result


@pytest.mark.parametrize("config", [pytest.param({}, marks=pytest.mark.slow), {"posterior": "sample", "noise": True}])
def test_from_the_second_batch_on_a_pass_never_waits_for_the_gpu(launched, config):
    """The check of the images' range read a value back at each call, and timesteps came from the host's memory."""
    backbone = random_backbone("toy")
    backbone.config = BackboneConfig(**config)
    backbone.optimize()

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = backbone

        def forward(self, images, context):
            return backbone(images, context)

    whole = Whole()
    context = torch.randn(1, 7, 64)
    with torch.no_grad():
        whole(torch.rand(1, 3, 64, 64), context)  # the first batch is checked
    with FakeTensorMode() as fake, torch.no_grad():
        weights = {
            name: torch.empty_strided(x.shape, x.stride(), device="cuda") for name, x in whole.named_parameters()
        }
        if config:  # lies on the device after the first pass there
            backbone.scheduler.alphas_cumprod = fake.from_tensor(backbone.scheduler.alphas_cumprod).to("cuda")
        pixels = torch.empty(2, 3, 128, 128, dtype=torch.uint8, device="cuda")
        with Waits() as waits:
            torch.func.functional_call(
                whole, weights, (pixels.float() / 127.5 - 1, torch.empty(2, 7, 64, device="cuda"))
            )
    assert waits.found == []


def test_the_check_sees_what_waits():
    with FakeTensorMode(allow_non_fake_inputs=True), Waits() as waits:
        torch.ones(3).to(torch.empty(1, device="cuda"))
        torch.ones(3, device="cuda").cpu()
    assert [places for _, places in waits.found] == [{"cpu", "cuda"}] * 2
