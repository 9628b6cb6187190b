"""Where things are in a clone; STAGFORMER_BUILD names another build tree."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("STAGFORMER_BUILD", ROOT / "build" / "release"))
PROGRAM = BUILD / "bin" / "stagformer"
EXAMPLES = ROOT / "python" / "stagformer" / "examples"
STORIES = str(ROOT / "models" / "stories-2x3.h5")


def golden(name: str) -> str:
    return str(ROOT / "tests" / "golden" / f"{name}.h5")
