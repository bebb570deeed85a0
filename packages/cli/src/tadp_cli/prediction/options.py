"""Options of a prediction, checked before a model is loaded."""

from dataclasses import dataclass
from pathlib import Path

from tadp_captioning import CleaningLimits
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.pipelines.prediction_files import PNG, check_format
from tadp_cli.precision import AUTO, Speed
from tadp_heads.tiling.predict import Tiling
from tadp_heads.writers.polygons import DEFAULT_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Options; empty: as the run was trained."""

    caption: str | None = None
    """Text for all images."""
    captioner: str = ""
    """Who captions images that have no text."""
    captions: Path | None = None
    """A file of captions, one per image."""
    names: Path | None = None
    """Selected class names of each image, see `SelectedNames.read`."""
    cleaner: str = ""
    """What removes the words for the run's domain from captions."""
    limits: CleaningLimits = NO_LIMITS_GIVEN
    protocol: str = ""
    """How images are predicted."""
    size: int | None = None
    """Longest side in pixels at which images are predicted, larger ones being shrunk; None: their own size."""
    batch_size: int = 8
    """Batch size."""
    speed: Speed = AUTO
    """How the model computes."""
    format: str = PNG
    """PNG, or the annotation tool that the objects found are written for: one of WRITERS."""
    tolerance: float = DEFAULT_TOLERANCE
    """Pixels by which polygons may differ from the mask."""
    min_score: float = 0.0
    """Objects with a lower score are left out of an annotation tool's files."""
    confidence: bool = False
    """Whether the probability of each pixel's class is written too."""
    tile: int = 0
    """Side in pixels of overlapping windows in which large images are predicted; 0: the whole image at once."""
    overlap: int | None = None
    """Of the windows, in pixels; None: a quarter of their side."""
    tile_captions: bool = False
    """Whether each window has a caption of its own; else the image's is that of all."""
    mask_file: str = "png"
    """png or tiff, of images in windows."""

    def __post_init__(self) -> None:
        check_format(self.format, self.tolerance, self.min_score, self.confidence)
        if self.size is not None and self.size < 1:
            raise ValueError(f"--size is {self.size}, expected pixels of the longest side, e.g. 1024")
        if not self.tile and (self.overlap is not None or self.tile_captions or self.mask_file != "png"):
            raise ValueError("--overlap, --tile-captions and --mask-file need windows: add --tile 512")
        if self.tile and self.size is not None:
            raise ValueError("windows are cut from the image at its own size: leave --size or --tile out")
        if self.tile_captions and (self.caption is not None or self.captions is not None or self.names is not None):
            raise ValueError("--tile-captions has each window captioned: leave --caption, --captions and --names out")
        if self.batch_size < 1:
            raise ValueError(f"--batch-size is {self.batch_size}, expected at least 1")
        texts = {"--caption": self.caption, "--captions": self.captions, "--names": self.names}
        given = [name for name, value in texts.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each give images their text: leave all but one out")
        if given and given != ["--names"] and self.captioner:
            raise ValueError(f"{given[0]} gives images their text: leave --captioner out, or {given[0]}")

    @property
    def tiling(self) -> Tiling | None:
        """None: images are predicted whole."""
        overlap = self.tile // 4 if self.overlap is None else self.overlap
        tiling = Tiling(side=self.tile, overlap=overlap, batch_size=min(self.batch_size, 4), mask=self.mask_file)
        return tiling if self.tile else None
