"""``python -m fusion_bench.study.worker`` serves cells; every executor starts it. See `fusion_bench.cells.worker`."""

if __name__ == "__main__":
    # Processes that make data import this file again, and must not load what only a worker needs.
    from fusion_bench.cells.worker import main

    main()
