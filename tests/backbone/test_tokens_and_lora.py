"""What personalization makes, loaded: learned tokens and LoRA."""

import pytest
import torch
from diffusers import StableDiffusionPipeline
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch.testing import assert_close


def rows(backbone, *names):
    ids = backbone.tokenizer.convert_tokens_to_ids(list(names))
    return backbone.text_encoder.get_input_embeddings().weight[ids]


def write(folder, form, vectors):
    """One learned token <x> in each of the formats that people hold; returns (file, token)."""
    if form == "diffusers":
        save_file({"<x>": vectors}, folder / "learned_embeds.safetensors")
        return folder / "learned_embeds.safetensors", "<x>"
    if form == "diffusers-bin":
        torch.save({"<x>": vectors[0] if len(vectors) == 1 else vectors}, folder / "learned_embeds.bin")
        return folder, "<x>"
    if form == "a1111-pt":
        torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": vectors}, "name": "xlook"}, folder / "a.pt")
        return folder / "a.pt", "xlook"
    if form == "first-pt":
        parameters = torch.nn.ParameterDict({"*": vectors})
        torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}, folder / "zlook.pt")
        return folder / "zlook.pt", "zlook"
    save_file({"emb_params": vectors}, folder / "ylook.safetensors")
    return folder / "ylook.safetensors", "ylook"


@pytest.mark.parametrize("form", ["diffusers", "diffusers-bin", "a1111-pt", "a1111-safetensors", "first-pt"])
@pytest.mark.parametrize("count", [1, 3])
def test_every_format_puts_its_vectors_into_the_encoder(make_backbone, tmp_path, form, count):
    backbone = make_backbone(text=True)
    before = backbone.encode_text(["a photo"])
    vectors = torch.randn(count, 64)
    file, token = write(tmp_path, form, vectors)
    assert backbone.load_tokens(file) == [token]
    names = [token, *(f"{token}_{i}" for i in range(1, count))]
    assert_close(rows(backbone, *names), vectors)
    assert_close(backbone.encode_text(["a photo"]), before)
    short, written_out = backbone.encode_text([f"a {token} cat", f"a {' '.join(names)} cat"])
    assert_close(short, written_out)
    assert not backbone.text_encoder.get_input_embeddings().weight.requires_grad


def test_vectors_go_where_the_token_stands(make_backbone, tmp_path):
    """The embedding row that the encoder reads for a one-vector token is the file's vector."""
    backbone = make_backbone(text=True)
    vector = torch.randn(1, 64)
    backbone.load_tokens(write(tmp_path, "diffusers", vector)[0], token="<mine>")
    seen = []
    backbone.text_encoder.get_input_embeddings().register_forward_hook(lambda _m, _i, output: seen.append(output))
    backbone.encode_text(["cat <mine> dog"])
    assert_close(seen[0][0, 2], vector[0])


def test_clashes_and_foreign_files_are_refused(make_backbone, tmp_path):
    backbone = make_backbone(text=True)
    file, _ = write(tmp_path, "diffusers", torch.randn(2, 64))
    backbone.load_tokens(file)
    size = len(backbone.tokenizer)
    save_file({"<wide>": torch.randn(1, 32)}, tmp_path / "wide.safetensors")
    save_file({"<none>": torch.zeros(0, 64)}, tmp_path / "empty.safetensors")
    save_file({"a.lora_A.weight": torch.randn(1, 2, 3)}, tmp_path / "lora.safetensors")
    for call, message in [
        (lambda: backbone.load_tokens(file), "'<x>' is in the vocabulary already"),
        (lambda: backbone.load_tokens(file, token="cat"), "'cat' is in the vocabulary already"),
        (lambda: backbone.load_tokens(tmp_path / "wide.safetensors"), "vectors of 32, this text encoder's have 64"),
        (lambda: backbone.load_tokens(tmp_path / "empty.safetensors"), "holds no vectors for '<none>'"),
        (lambda: backbone.load_tokens(tmp_path / "lora.safetensors"), "holds no learned tokens"),
        (lambda: backbone.load_tokens(tmp_path / "none.bin"), "no such file of learned tokens"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    assert len(backbone.tokenizer) == size


def adapted(backbone, alpha):
    """The UNet with a LoRA of random weights, by peft."""
    torch.manual_seed(3)
    config = LoraConfig(r=2, lora_alpha=alpha, target_modules=["to_q", "to_k"], init_lora_weights=False)
    return get_peft_model(backbone.unet, config)


@pytest.mark.parametrize("form", ["peft", "peft-parts", "diffusers"])
def test_a_lora_is_merged(make_backbone, inputs, tmp_path, form):
    source = make_backbone()
    # diffusers' files without metadata mean alpha = r
    model = adapted(source, alpha=2 if form == "diffusers" else 6)
    with torch.no_grad():
        expected = source.extract(*inputs).levels[0]
    if form == "diffusers":
        layers = {key.removeprefix("base_model.model."): v for key, v in get_peft_model_state_dict(model).items()}
        StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=layers)
    else:
        model.save_pretrained(tmp_path if form == "peft" else tmp_path / "unet")
    backbone = make_backbone()
    paths = [path for path, _ in backbone.unet.named_modules()]
    with torch.no_grad():
        plain = backbone.extract(*inputs).levels[0]
        unchanged = make_backbone().load_lora(tmp_path, scale=0.0).extract(*inputs).levels[0]
        merged = backbone.load_lora(tmp_path).extract(*inputs).levels[0]
    assert_close(merged, expected, atol=1e-4, rtol=1e-4)
    assert_close(unchanged, plain)
    assert not torch.allclose(merged, plain, atol=1e-2)
    assert [path for path, _ in backbone.unet.named_modules()] == paths
    assert all(p.requires_grad for p in backbone.unet.parameters())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks for it
@pytest.mark.parametrize("form", ["peft-parts", "diffusers", "diffusers-old"])
def test_a_lora_of_the_text_encoder_is_merged(make_backbone, tmp_path, form):
    source = make_backbone(text=True)
    torch.manual_seed(4)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(source.text_encoder, config)
    expected = source.encode_text(["a cat"])
    if form == "peft-parts":
        model.save_pretrained(tmp_path / "text_encoder")
    else:
        layers = {key.removeprefix("base_model.model."): v for key, v in get_peft_model_state_dict(model).items()}
        layers = {key.removeprefix("text_model."): v for key, v in layers.items()}
        if form == "diffusers-old":  # the files on the hub: CLIP's layers below text_model
            layers = {f"text_model.{key}": v for key, v in layers.items()}
        StableDiffusionPipeline.save_lora_weights(tmp_path, text_encoder_lora_layers=layers)
    backbone = make_backbone(text=True)
    plain = backbone.encode_text(["a cat"])
    merged = backbone.load_lora(tmp_path).encode_text(["a cat"])
    assert_close(merged, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(merged, plain, atol=1e-2)
    assert not any(p.requires_grad for p in backbone.text_encoder.parameters())


@pytest.mark.parametrize("form", ["kohya", "diffusers"])
def test_each_layer_of_a_lora_has_its_own_alpha_and_rank(make_backbone, tmp_path, form):
    """diffusers gives a layer whose alpha is not the most frequent one another layer's."""
    backbone, state, expected = make_backbone(), {}, {}
    torch.manual_seed(5)
    paths = [path for path, _ in backbone.unet.named_modules() if path.endswith(("to_q", "to_v", "to_out.0"))]
    for i, path in enumerate(paths):
        weight, rank, alpha = backbone.unet.get_submodule(path).weight.detach(), 1 + i % 3, 1.0 + i % 5
        down, up = torch.randn(rank, weight.shape[1]), torch.randn(weight.shape[0], rank)
        kohya = f"lora_unet_{path.replace('.', '_')}"
        name, a, b = (kohya, "lora_down", "lora_up") if form == "kohya" else (f"unet.{path}", "lora_A", "lora_B")
        state |= {f"{name}.{a}.weight": down, f"{name}.{b}.weight": up}
        if i % 4:  # without one it is the rank
            state[f"{name}.alpha"] = torch.tensor(alpha)
        expected[path] = weight + 0.5 * (alpha / rank if i % 4 else 1) * up @ down
    save_file(state, tmp_path / "lora.safetensors")
    backbone.load_lora(tmp_path, scale=0.5)
    for path, weight in expected.items():
        assert_close(backbone.unet.get_submodule(path).weight.detach(), weight, atol=1e-4, rtol=1e-4)


def test_a_lora_of_another_backbone_is_refused(make_backbone, tmp_path):
    path = next(p for p, _ in make_backbone().unet.named_modules() if p.endswith("attn1.to_q"))
    width = make_backbone().unet.get_submodule(path).weight.shape[0]
    there = {f"unet.{path}.lora_A.weight": torch.zeros(2, width), f"unet.{path}.lora_B.weight": torch.zeros(width, 2)}
    other = {"unet.down_blocks.7.to_q.lora_A.weight": torch.zeros(2, 7)}
    other |= {"unet.down_blocks.7.to_q.lora_B.weight": torch.zeros(7, 2)}
    save_file(there | other, tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="updates 2 layers, and this backbone has 1 of them"):
        make_backbone().load_lora(tmp_path)
    save_file({key: tensor[:, :-1].clone() for key, tensor in there.items()}, tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        make_backbone().load_lora(tmp_path)


def test_what_is_no_lora_is_refused(make_backbone, tmp_path):
    backbone = make_backbone()
    with pytest.raises(ValueError, match="no such LoRA"):
        backbone.load_lora(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has 0 \.safetensors files"):
        backbone.load_lora(tmp_path)
