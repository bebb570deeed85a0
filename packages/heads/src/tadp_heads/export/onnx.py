"""ONNX: written by torch's exporter, run by onnxruntime."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from tadp_heads.atomic_files import replacing
from tadp_heads.export.quiet import quiet_torchvision

ONNX_PACKAGES = ("onnx", "onnx_ir", "onnxscript", "onnxruntime")
"""Modules of the extra `tadp-heads[export]`."""
LARGEST_FILE = 1_800_000_000
"""Bytes of weights from which they go to FILE.data: an ONNX file holds 2 GB at most."""


def write_onnx(program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Write `path`, and above LARGEST_FILE `path`.data with the weights; `inputs`, `outputs`: names, in order."""
    import onnx_ir

    with quiet_torchvision():
        exported = torch.onnx.export(
            program, (), input_names=list(inputs), output_names=list(outputs), dynamo=True, verbose=False
        )
    assert exported is not None  # it is None where torch writes the file itself
    weights = (*program.state_dict.values(), *program.constants.values())
    size = sum(value.nbytes for value in weights if isinstance(value, Tensor))
    data = f"{path.name}.data" if size > LARGEST_FILE else None
    if data is not None:
        path.unlink(missing_ok=True)  # an older graph must not find the new weights
    with replacing(path) as partial:
        onnx_ir.save(exported.model, partial, external_data=data)


class OnnxRunner:
    """Runs an ONNX file with onnxruntime, on a GPU where it supports one, else on the CPU."""

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options, providers=onnxruntime.get_available_providers())

    def __call__(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """{input: tensor} on the CPU -> the outputs in order, on the CPU."""
        found = self.session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return [torch.from_numpy(value) for value in found]
