"""The catalogue; what every module of it promises is checked by the contract kit's own tests."""

from __future__ import annotations

import subprocess
import sys


def test_the_catalogue_is_read_without_torch() -> None:
    program = "import sys, fusion_modules; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
