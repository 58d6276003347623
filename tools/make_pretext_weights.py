"""Train the pretext weights that the package ships, and write them to a folder.

    python tools/make_pretext_weights.py FOLDER

It takes about fifteen minutes of one idle core that computes with bfloat16 (AVX-512), and 3 GB of memory. One machine
with one version of torch and of timm writes the same bytes each time. Other processors round differently and write
other bytes, whose accuracies should lie within half a point of those in the record.
Copy the three files to ``fusion_bench/training/pretext/shipped`` to ship them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fusion_bench.training.pretext.task import SHIPPED, SHIPPED_FILE
from fusion_bench.training.pretext.weights import write_pretext_weights


def main() -> None:
    """Train in one thread, and tell every 500th image or step and the accuracies."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    folder = Path(sys.argv[1])
    scores = write_pretext_weights(SHIPPED, folder / SHIPPED_FILE.name, _tell)
    for number, found in enumerate(scores.maps, start=SHIPPED.layer + 1 - len(scores.maps)):
        sys.stdout.write(f"layer {number}: {found}\n")


def _tell(what: str, done: int, total: int) -> None:
    if done % 500 == 0 or done == total:
        sys.stdout.write(f"{what} {done} of {total}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
