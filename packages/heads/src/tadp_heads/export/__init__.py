"""Export of a model to one file that runs without this code: ONNX, or a package of torch's AOTInductor.

Pixels in, logits, metres or boxes out: VAE, UNet, attention maps and head are one graph. A prompt that is the same for
all images is a constant of it.
"""

from tadp_heads.export.exporter import Exported, check_file, export
from tadp_heads.export.settings import FORMATS, PRECISIONS, ExportSettings
from tadp_heads.export.timing import milliseconds

__all__ = ["FORMATS", "PRECISIONS", "ExportSettings", "Exported", "check_file", "export", "milliseconds"]
