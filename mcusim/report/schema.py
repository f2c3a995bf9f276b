"""The JSON Schema of what :meth:`mcusim.estimates.Estimate.to_dict` returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["estimate_schema"]


def estimate_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of ``"mcusim/estimate/1"``."""
    path = Path(__file__).with_name("estimate.schema.json")
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema
