"""How a model is exported."""

from dataclasses import dataclass

FORMATS = ("onnx", "pt2")
"""onnx: for onnxruntime and others; pt2: machine code for this device, which torch loads."""
PRECISIONS = ("fp32", "fp16")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Format, size and precision of the graph."""

    format: str = "onnx"
    """One of FORMATS."""
    size: tuple[int, int] | None = (512, 512)
    """(H, W) of the images in pixels; None: any multiples of the model's coarsest stride."""
    precision: str = "fp32"
    """One of PRECISIONS. fp16: weights and activations of VAE and UNet; the head, inputs and outputs stay float32."""

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"unknown format {self.format!r}; choose from {', '.join(FORMATS)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; choose from {', '.join(PRECISIONS)}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size is {self.size}, expected pixels, e.g. (512, 512)")
