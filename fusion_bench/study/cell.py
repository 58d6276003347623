"""``python -m fusion_bench.study.cell DIR`` runs one cell: see `fusion_bench.cells.run_cell`.

Exported bundles call this program by its name.
"""

import sys

from fusion_bench.cells.run_cell import main

if __name__ == "__main__":
    sys.exit(main())
