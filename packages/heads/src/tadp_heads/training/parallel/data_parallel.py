"""How an effective batch is divided into micro-batches and among processes (data parallelism)."""

from dataclasses import dataclass

from tadp_heads.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Share:
    """One process's part of each step; all processes together see the effective batch, each image once."""

    passes: int
    """Micro-batches of this process, each with a forward and a backward pass."""
    size: int
    """Images in one of its micro-batches."""
    first: int
    """Index of this rank's first micro-batch in the step."""
    offset: int
    """Index of its first image in a micro-batch that processes share."""
    batch_size: int
    """Images of a micro-batch, over all processes that share it."""
    accumulate: int
    """Micro-batches per step (gradient accumulation)."""

    @property
    def split(self) -> bool:
        """Whether processes share each micro-batch, instead of having complete ones."""
        return self.size < self.batch_size

    def positions(self, step: int) -> list[list[int]]:
        """Positions in the endless sequence of drawn images, one list per micro-batch."""
        starts = [self.number(step, index) * self.batch_size + self.offset for index in range(self.passes)]
        return [list(range(start, start + self.size)) for start in starts]

    def number(self, step: int, index: int) -> int:
        """Index of a micro-batch of this process among all micro-batches of the run."""
        return step * self.accumulate + self.first + index


def share_of(config: TrainConfig, processes: int, rank: int) -> Share:
    """This process's share. Processes get complete micro-batches where `accumulate` is a multiple of their number: the
    gradients then equal those of one process up to float error. Else they share each micro-batch, which keeps the
    effective batch size, while losses and BatchNorm over several images see fewer of them.
    """
    batch_size, accumulate = config.batch_size, config.accumulate
    both = {"batch_size": batch_size, "accumulate": accumulate}
    if accumulate % processes == 0:
        passes = accumulate // processes
        return Share(passes=passes, size=batch_size, first=rank * passes, offset=0, **both)
    if batch_size % processes == 0:
        size = batch_size // processes
        return Share(passes=accumulate, size=size, first=0, offset=rank * size, **both)
    raise ValueError(
        f"{processes} processes cannot share train.batch_size {batch_size} x train.accumulate {accumulate}: "
        f"make one of them a multiple of {processes}"
    )


def describe_share(share: Share, processes: int) -> str:
    """One line."""
    return (
        f"effective batch size {share.batch_size * share.accumulate}: "
        f"{processes} processes x {share.passes} micro-batches x {share.size} images"
    )
