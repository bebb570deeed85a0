import pytest
import torch

from tadp_personalize.io.pipeline_parts import load_base
from tadp_personalize.training.loss import Batch, DenoisingLoss, draw_timesteps


def make_batch(ids):
    rng = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 3, 4, 8, 8, generator=rng)
    return Batch(latents, noise, torch.tensor([3, 500, 990]), ids, torch.full((3,), 1 / 3))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_loss_is_the_plain_formula(pipe, kind):
    """Targets and noising written out: x_t = sqrt(a) x + sqrt(1 - a) e, v = sqrt(a) e - sqrt(1 - a) x."""
    pipe.scheduler.register_to_config(prediction_type=kind)
    base = load_base(pipe)
    ids = base.tokenizer(["a comic", "picture", ""], padding="max_length", return_tensors="pt").input_ids
    batch = make_batch(ids)
    with torch.no_grad():
        losses = DenoisingLoss(base.unet, base.text_encoder, base.noise_schedule())(batch)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        a = (1 - betas).cumprod(0)[batch.timesteps].float()[:, None, None, None]
        noisy = a.sqrt() * batch.latents + (1 - a).sqrt() * batch.noise
        context = pipe.text_encoder(ids).last_hidden_state
        predicted = pipe.unet(noisy, batch.timesteps, context).sample
    velocity = a.sqrt() * batch.noise - (1 - a).sqrt() * batch.latents
    target = {"epsilon": batch.noise, "v_prediction": velocity, "sample": batch.latents}[kind]
    torch.testing.assert_close(losses, ((predicted - target) ** 2).flatten(1).mean(1), rtol=1e-4, atol=1e-6)


def test_stratified_time_steps_fall_one_into_each_part():
    rng = torch.Generator().manual_seed(0)
    drawn = torch.stack([draw_timesteps(8, 1000, stratified=True, generator=rng) for _ in range(400)])
    assert (drawn.sort(1).values // 125 == torch.arange(8)).all()
    means = drawn.double().mean(0)  # each place in the batch is still uniform: mean 499.5, standard error 14.4
    assert ((means - 499.5).abs() < 5 * 14.4).all()


def test_time_steps_stay_in_range():
    rng = torch.Generator().manual_seed(0)
    for stratified in (True, False):
        drawn = torch.cat([draw_timesteps(7, 10, stratified=stratified, generator=rng) for _ in range(200)])
        assert set(drawn.tolist()) == set(range(10))
