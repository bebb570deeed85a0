"""Which engine a command works with, checked before anything is loaded."""

from dataclasses import dataclass

LOCAL, RAY = "local", "ray"
BATCHES_PER_PART = 8
"""What Ray does again where an actor dies, and what a killed command loses per actor."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """`--engine` and `--actors`."""

    name: str = LOCAL
    """local: this process, or those of `accelerate launch`. ray: a pool of actors."""
    actors: int = 0
    """Models loaded side by side; 0: one per GPU of the cluster, or a single one."""

    def __post_init__(self) -> None:
        if self.name not in (LOCAL, RAY):
            raise ValueError(f"unknown engine {self.name!r}; choose from {LOCAL}, {RAY}")
        if self.actors < 0:
            raise ValueError(f"--actors is {self.actors}, expected at least 1, or 0 for one per GPU")
        if self.actors and not self.on_ray:
            raise ValueError("--actors are those of Ray: add --engine ray")

    @property
    def on_ray(self) -> bool:
        """Whether actors do the work."""
        return self.name == RAY

    def check(self, processes: int, device: str | None) -> None:
        """Raise ValueError where Ray is asked for what it decides itself."""
        if self.on_ray and processes > 1:
            raise ValueError(
                f"--engine ray spreads the work itself, here once in each of {processes} processes: start it alone"
            )
        if self.on_ray and device not in (None, "auto", "cpu", "cuda"):
            raise ValueError(f"--device {device}: Ray gives each actor a GPU of its own: leave it out, or take cpu")


ONE_MACHINE = Engine()
