"""How far two predictions for the same pixels are apart."""

from torch import Tensor


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """Half of KL(p || q) + KL(q || p) in nats, the mean over pixels; logits (B, K, h, w) of p and of q."""
    log_p, log_q = (logits.float().log_softmax(dim=1) for logits in (first, second))
    return 0.5 * ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1).mean()
