"""``python -m fusion_bench`` is the same program as ``fusion-bench``."""

from fusion_bench.cli.main import main

if __name__ == "__main__":
    main()
