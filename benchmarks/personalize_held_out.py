"""How well the tiny model learns a domain from 5 images: the held-out denoising loss of both methods, with 3 seeds.

    python benchmarks/personalize_held_out.py [--domains watercolor comic] [--seeds 0 1 2] [--steps N] [--out FILE]

Each seed has Scenes, noise and training draws of its own. Losses are of the same images, noise and time steps within a
row; a row passes when the learned prompt is below the empty prompt and below the same captions without the domain, both
before and after training. A run that takes more than 180 seconds does not pass.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from tadp_cli.pipelines.personalize import METHODS, SCENES_SEED, draw_domain, learn, settings

LIMIT_S = 180.0
IMAGES = 5
COLUMNS = ("learnt", "empty", "plain", "initial_word")


def measure(domain: str, method: str, seed: int, steps: int | None) -> dict[str, object]:
    """One run from nothing to its numbers."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        images, held_out = draw_domain(Path(folder) / "scenes", domain, IMAGES, SCENES_SEED + seed)
        result = learn(
            domain=domain,
            images=images,
            held_out=held_out,
            count=IMAGES,
            method=method,
            config=settings(method, "tiny", steps=steps),
            backbone="tiny",
            out=Path(folder) / "out",
            resume=False,
            device="cpu",
            seed=seed,
            progress=lambda *_: None,
        )
    row = {"domain": domain, "method": method, "seed": seed, "seconds": time.perf_counter() - began}
    return row | {"before": result.before, "after": result.after, "passes": passes(result.before, result.after, began)}


def passes(before: dict[str, float], after: dict[str, float], began: float) -> bool:
    others = [losses[kind] for losses in (before, after) for kind in ("empty", "plain")]
    return after["learnt"] < min(others) and time.perf_counter() - began <= LIMIT_S


def line(row: dict[str, object]) -> str:
    before, after = row["before"], row["after"]
    cells = [f"{before['learnt']:.5f}", *(f"{after[kind]:.5f}" for kind in COLUMNS)]
    cells += [f"{before[kind]:.5f}" for kind in ("empty", "plain")]
    cells += [f"{row['seconds']:.0f} s", "passes" if row["passes"] else "FAILS"]
    return f"| {row['domain']} | {row['method']} | {row['seed']} | {' | '.join(cells)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--domains", nargs="+", default=["watercolor", "comic"])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="updates, in place of the preset's")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the rows as JSON here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = (
        "domain",
        "method",
        "seed",
        "learned, before",
        *COLUMNS,
        "empty, before",
        "plain, before",
        "time",
        "verdict",
    )
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}")
    rows = []
    for method in options.methods:
        for domain in options.domains:
            for seed in options.seeds:
                rows.append(measure(domain, method, seed, options.steps))
                print(line(rows[-1]), flush=True)
                if options.out:
                    options.out.write_text(json.dumps(rows, indent=2) + "\n")
    passed = sum(bool(row["passes"]) for row in rows)
    print(f"\n{passed} of {len(rows)} pass")
    return int(passed < len(rows))


if __name__ == "__main__":
    sys.exit(main())
