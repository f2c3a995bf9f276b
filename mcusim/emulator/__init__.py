"""Compiled firmware, executed: images, the machine that runs them, and what their blocks cost."""

from __future__ import annotations

__all__: list[str] = []
