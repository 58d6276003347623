"""``python -m fusion_bench.study.worker`` serves cells; every executor starts it. See `fusion_bench.cells.worker`."""

from fusion_bench.cells.worker import main

if __name__ == "__main__":
    main()
