"""How a run is served."""

from dataclasses import dataclass

KEY_VARIABLE = "TADP_SERVE_KEY"
"""Environment variable with the key that requests must carry; not set: none is asked for."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Address and limits."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: one that is free."""
    device: str = "auto"
    batch_size: int = 8
    """Most images per batch."""
    queue: int = 64
    """Most images that wait."""
    max_megapixels: float = 25.0
    max_megabytes: float = 20.0
    """Of the encoded image."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "queue", "max_megapixels", "max_megabytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected a number above 0")
        if not 0 <= self.port < 65536:
            raise ValueError(f"--port is {self.port}, expected 0 to 65535")
