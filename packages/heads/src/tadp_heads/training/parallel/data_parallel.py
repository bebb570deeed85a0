"""How the images of a step are shared out over its passes and over processes."""

from dataclasses import dataclass

from tadp_heads.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one process does of each step; all processes together see the effective batch, each image once."""

    passes: int
    """Passes forward and backward of this process."""
    size: int
    """Images of one of its passes."""
    first: int
    """Number of its first pass among those of the whole step."""
    offset: int
    """Place of its first image in a pass that several processes share."""
    batch_size: int
    """Images of one pass, all processes that share it together."""
    accumulate: int
    """Passes of the whole step."""

    @property
    def split(self) -> bool:
        """Whether each pass is split over the processes, in place of whole passes being dealt out."""
        return self.size < self.batch_size

    def positions(self, step: int) -> list[list[int]]:
        """Places in the endless sequence of drawn images, a list for each pass."""
        starts = [self.number(step, index) * self.batch_size + self.offset for index in range(self.passes)]
        return [list(range(start, start + self.size)) for start in starts]

    def number(self, step: int, index: int) -> int:
        """The number of a pass of this process among all passes of the run."""
        return step * self.accumulate + self.first + index


def share_of(config: TrainConfig, processes: int, rank: int) -> Share:
    """This process's share. Whole passes are dealt out where their number allows it: then the gradients are those of
    one process to float error. Else each pass is split, which keeps the effective batch, while losses and BatchNorm
    that use several images at once see fewer of them.
    """
    batch_size, accumulate = config.batch_size, config.accumulate
    whole = {"batch_size": batch_size, "accumulate": accumulate}
    if accumulate % processes == 0:
        passes = accumulate // processes
        return Share(passes=passes, size=batch_size, first=rank * passes, offset=0, **whole)
    if batch_size % processes == 0:
        size = batch_size // processes
        return Share(passes=accumulate, size=size, first=0, offset=rank * size, **whole)
    raise ValueError(
        f"{processes} processes cannot share train.batch_size {batch_size} x train.accumulate {accumulate}: "
        f"make one of them a multiple of {processes}"
    )


def describe_share(share: Share, processes: int) -> str:
    """One line."""
    return (
        f"effective batch size {share.batch_size * share.accumulate}: "
        f"{processes} processes x {share.passes} passes x {share.size} images"
    )
