"""A package of torch.export that AOTInductor compiled for this machine's processor or GPU: a C++ compiler is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from tadp_heads.atomic_files import replacing
from tadp_heads.export.quiet import quiet_torchvision


def write_pt2(program: ExportedProgram, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Compile for the device on which the program's weights are; inputs keep their names, outputs have none."""
    from torch._inductor import aoti_compile_and_package

    with replacing(path) as partial:
        written = partial.with_suffix(".pt2")  # torch wants this ending
        try:
            with quiet_torchvision():
                aoti_compile_and_package(program, package_path=str(written))
            written.replace(partial)
        finally:
            written.unlink(missing_ok=True)


class Pt2Runner:
    """Runs a compiled package on the device for which it was compiled."""

    def __init__(self, path: Path, device: torch.device):
        from torch._inductor import aoti_load_package

        self.device = device
        self.package = aoti_load_package(str(path))

    def __call__(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """{input: tensor} -> the outputs in order, on the CPU."""
        # Compiled code reads memory in the order of the example that was traced, and checks none.
        given = {name: value.to(self.device).contiguous() for name, value in inputs.items()}
        found = self.package(**given)
        return [value.cpu() for value in found]
