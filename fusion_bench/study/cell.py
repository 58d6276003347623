"""``python -m fusion_bench.study.cell DIR`` runs one cell; exported bundles call it. See `fusion_bench.cells.run_cell`."""

import sys

from fusion_bench.cells.run_cell import main

if __name__ == "__main__":
    sys.exit(main())
