"""The token's rows are all that changes, and every loader sees the same numbers."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tadp_personalize import (
    TextualInversionConfig,
    base_of,
    check_base,
    expand_prompt,
    load_token,
    textual_inversion,
)
from tadp_personalize.held_out import HeldOutLoss
from tadp_personalize.io.pipeline_parts import load_base
from tadp_personalize.io.tokens import LearnedRows, add_token, initial_rows, save_token
from tadp_personalize.methods.textual_inversion import token_learner
from tadp_personalize.training.latents import ImageLatents
from tadp_personalize.training.loss import DenoisingLoss

CONFIG = TextualInversionConfig(
    steps=3, learning_rate=1e-2, batch_size=2, accumulate=1, vectors=2, held_out_timesteps=2, max_grad_norm=None
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, make_pipeline, make_pictures):
    """A pipeline, its parameters before, and the result of a run on it."""
    pipe = make_pipeline()
    before = snapshot(pipe)
    out = tmp_path_factory.mktemp("learnt")
    result = textual_inversion(pipe, make_pictures(4), config=CONFIG, out=out, held_out=make_pictures(2, seed=7))
    return pipe, before, result


def snapshot(pipe):
    parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    return {f"{k}.{name}": t.detach().clone() for k, m in parts.items() for name, t in m.state_dict().items()}


def embed(pipe, prompt):
    with torch.no_grad():
        return pipe.encode_prompt(prompt, "cpu", 1, False)[0]


def test_the_callers_pipeline_stays_bit_equal(learned):
    pipe, before, _ = learned
    after = snapshot(pipe)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert "<watercolor>" not in pipe.tokenizer.get_vocab()
    assert all(p.requires_grad for p in pipe.unet.parameters())


def test_rows_moved_and_are_what_the_result_counts(learned):
    pipe, _, result = learned
    rows = load_file(result.path)["<watercolor>"]
    start = initial_rows(pipe.tokenizer, pipe.text_encoder, "watercolor", 2)
    assert rows.shape == (2, 16)
    assert result.trained_parameters == 32
    assert (rows != start).any(1).all()


def test_diffusers_and_our_loader_give_the_same_context_and_touch_nothing_else(learned, make_pipeline):
    _, before, result = learned
    theirs, ours = make_pipeline(), make_pipeline()
    theirs.load_textual_inversion(str(result.folder))
    name = load_token(result.folder, tokenizer=ours.tokenizer, text_encoder=ours.text_encoder, unet=ours.unet)
    assert name == "<watercolor>"
    prompt = "a <watercolor> style picture"
    torch.testing.assert_close(embed(theirs, prompt), embed(ours, prompt))
    assert not torch.equal(embed(ours, prompt), embed(ours, "a watercolor style picture"))
    after = snapshot(ours)
    for name, tensor in before.items():
        assert torch.equal(after[name][: len(tensor)] if "token_embedding" in name else after[name], tensor), name


def test_learned_prompt_of_the_loaded_pipeline_gives_the_reported_held_out_loss(learned, make_pipeline, make_pictures):
    """The number in results.json is that of the file, measured by a plain loop."""
    _, _, result = learned
    pipe = make_pipeline()
    pipe.load_textual_inversion(str(result.folder))
    base = load_base(pipe)
    latents = ImageLatents(make_pictures(2, seed=7), base.vae, size=16, flip=0.0, crop="center", cache=False)
    loss = HeldOutLoss.build(
        latents=latents.modes(),
        templates=CONFIG.templates,
        captions=["", ""],
        token="<watercolor>",
        word="watercolor",
        count=2,
        train_timesteps=1000,
        seed=0,
    )
    losses = loss(DenoisingLoss(base.unet, base.text_encoder, base.noise_schedule()), base.tokenizer)
    assert losses == pytest.approx(result.after, rel=1e-6)
    assert result.before["plain"] == result.after["plain"]
    assert result.before["learnt"] != result.after["learnt"]


def test_another_base_is_an_error(learned, make_pipeline):
    other = make_pipeline(seed=1)
    path = learned[2].path
    with pytest.raises(ValueError, match="another base model"):
        load_token(path, tokenizer=other.tokenizer, text_encoder=other.text_encoder, unet=other.unet)
    with pytest.raises(ValueError, match="another base model"):
        check_base(learned[2].folder, unet=other.unet, text_encoder=other.text_encoder)


def test_files_say_what_they_were_made_on_and_those_of_others_do_not(learned, tmp_path):
    folder = learned[2].folder
    assert base_of(folder) == base_of(learned[2].path) == load_base(learned[0]).identity
    save_file({"<x>": torch.zeros(1, 16)}, tmp_path / "other.safetensors")
    torch.save({"<x>": torch.zeros(16)}, tmp_path / "other.bin")
    assert base_of(tmp_path / "other.safetensors") is None
    assert base_of(tmp_path / "other.bin") is None


def test_the_base_is_known_again_in_half_precision_and_with_more_tokens(learned, make_pipeline):
    pipe = make_pipeline()
    pipe.load_textual_inversion(str(learned[2].folder))
    check_base(learned[2].path, unet=pipe.unet.half(), text_encoder=pipe.text_encoder)


def test_hook_equals_rows_written_into_the_embedding_gradients_included(pipe):
    rows = torch.randn(2, 16, generator=torch.Generator().manual_seed(3))
    ids = add_token(pipe.tokenizer, pipe.text_encoder, "<x>", rows)
    tokens = pipe.tokenizer("a <x> <x>_1 picture <x>", return_tensors="pt").input_ids
    pipe.text_encoder(tokens)[0].square().sum().backward()
    embedding = pipe.text_encoder.get_input_embeddings()
    dense = embedding.weight.grad[ids].clone()
    expected = pipe.text_encoder(tokens)[0].detach()

    with torch.no_grad():
        embedding.weight[ids] = 0.0
    pipe.text_encoder.requires_grad_(False)
    learned = LearnedRows(rows, ids)
    with learned.in_place_of(embedding):
        context = pipe.text_encoder(tokens)[0]
        context.square().sum().backward()
    torch.testing.assert_close(context, expected)
    torch.testing.assert_close(learned.rows.grad, dense)
    assert not torch.equal(pipe.text_encoder(tokens)[0], expected)  # the hook is gone


def test_only_the_rows_are_parameters(pipe):
    base = load_base(pipe, copied=("text_encoder",))
    for module in base.modules():
        module.requires_grad_(False)
    with token_learner(base, "<x>", "comic", 3) as learner:
        assert sum(p.numel() for p in learner.objective.parameters() if p.requires_grad) == 3 * 16


@pytest.mark.parametrize("words", ["watercolor", "comic style"])
@pytest.mark.parametrize("vectors", [1, 2, 3])
def test_initial_rows(pipe, words, vectors):
    ids = pipe.tokenizer(words, add_special_tokens=False).input_ids
    weight = pipe.text_encoder.get_input_embeddings().weight
    rows = initial_rows(pipe.tokenizer, pipe.text_encoder, words, vectors)
    if vectors >= len(ids):
        expected = torch.stack([weight[ids[i % len(ids)]] for i in range(vectors)])
    else:
        expected = weight[ids].mean(0, keepdim=True)
    torch.testing.assert_close(rows, expected.detach())


@pytest.mark.parametrize("token", ["", "two words", "watercolor</w>", " <x>"])
def test_unusable_tokens(pipe, token):
    with pytest.raises(ValueError, match="token"):
        add_token(pipe.tokenizer, pipe.text_encoder, token, torch.zeros(1, 16))


def test_prompts_of_tokens_with_many_vectors(pipe):
    add_token(pipe.tokenizer, pipe.text_encoder, "<x>", torch.zeros(3, 16))
    add_token(pipe.tokenizer, pipe.text_encoder, "<y>", torch.zeros(1, 16))
    prompt = "a <x> and a <y>"
    assert expand_prompt(prompt, pipe.tokenizer) == "a <x> <x>_1 <x>_2 and a <y>"
    assert expand_prompt(prompt, pipe.tokenizer) == pipe.maybe_convert_prompt(prompt, pipe.tokenizer)


def test_files_that_do_not_fit(pipe, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        load_token(tmp_path, tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
    save_token(tmp_path / "wide.safetensors", "<x>", torch.zeros(1, 24), "sha256:0")
    with pytest.raises(ValueError, match="24"):
        load_token(tmp_path / "wide.safetensors", tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
