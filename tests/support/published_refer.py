"""A folder in REFER's published layout under a published name, filled with built-in scenes."""

from __future__ import annotations

import pickle
from pathlib import Path

from fusion_bench.data.miniclevr.referring.dataset import MiniClevrRefer
from fusion_bench.data.refer.dataset import Refer
from fusion_bench.data.refer.pickles import read_plain_pickle


def write_published(folder: Path, adapter: type[Refer]) -> Path:
    """Generate scenes in ``folder`` and rename them to the adapter's name, files and evaluation splits."""
    made = MiniClevrRefer(folder, images={"train": 30, "select": 12, "evaluate": 24}, size=[32, 48])
    made.prepare()
    split_by, partition = next(iter(adapter.partitions.items()))
    evaluate = partition.splits.evaluate
    published = folder / adapter.name
    (folder / made.name).rename(published)
    refs = read_plain_pickle(published / "refs(unc).p", "")
    assert isinstance(refs, list)
    for number, ref in enumerate(refs):
        if ref["split"] == "test":
            ref["split"] = evaluate[number % len(evaluate)]
    (published / "refs(unc).p").unlink()
    (published / f"refs({split_by}).p").write_bytes(pickle.dumps(refs, protocol=2))
    return folder
