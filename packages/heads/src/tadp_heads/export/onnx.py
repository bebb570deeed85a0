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
"""Bytes of weights; with more, which ONNX's own format cannot hold, they are in FILE.data."""


def write_onnx(program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """`path`, and for large models `path`.data with the weights."""
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
    """Runs a file on the CPU, or on a GPU where onnxruntime has one."""

    def __init__(self, path: Path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(path, options, providers=onnxruntime.get_available_providers())

    def __call__(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Named inputs on the CPU -> the outputs in order."""
        found = self.session.run(None, {name: value.numpy() for name, value in inputs.items()})
        return [torch.from_numpy(value) for value in found]
