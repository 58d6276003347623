"""The texts that both forms of a run's progress share."""

from __future__ import annotations

from fusion_bench.reporting.cell_rows import Board, CellRow, duration
from fusion_bench.study.cell_status import CellState
from fusion_bench.study.observer import RunPreparing


def state_word(state: CellState) -> str:
    """Return what the screen calls a state: a missing cell waits for its turn in this run."""
    return "waiting" if state == "missing" else state


def preparing_text(event: RunPreparing) -> str:
    """``decoding images 1,200 of 4,000``; what is not counted stands alone."""
    return f"{event.what} {event.done:,} of {event.total:,}" if event.total else event.what


def drawn_settings(row: CellRow) -> str:
    """The settings that a search drew for a trial: ``kernel_size=5, train.learning_rate=0.0031``."""
    drawn = row.status.cell.drawn.items()
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in drawn
    )


def summary_line(board: Board) -> str:
    """Return how many cells are done, and the time that is left: ``3 of 15 cells done, about 4:10 left``."""
    parts = [f"{board.count('done')} of {len(board.rows)} cells done"]
    if board.count("failed"):
        parts.append(f"{board.count('failed')} failed")
    left = board.total_seconds_left()
    if left is not None:
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)
