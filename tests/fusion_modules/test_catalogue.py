"""The catalogue of modules; the tests of the contract kit check that every module keeps the contract."""

from __future__ import annotations

import subprocess
import sys


def test_the_catalogue_does_not_import_torch() -> None:
    program = "import sys, fusion_modules; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
