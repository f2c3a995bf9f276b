"""Where the data lies that tests use when it is there; it stays outside the project."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data folder")


def shared_models() -> list[Path]:
    """Every real network of the shared folder."""
    return sorted((SHARED / "models").rglob("*.tflite"))
