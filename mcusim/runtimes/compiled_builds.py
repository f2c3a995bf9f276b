"""Builds in which the sizes of generators' kernels were read, and what stands for the others."""

from __future__ import annotations

__all__ = ["compiled_build"]

#: Cores that stand for those that were not compiled for, by what instructions they have.
_CORE = {"m0": "m0plus", "m55": "m33", "m85": "m33"}
#: Flags likewise; others are taken as -O3.
_FLAG = {"gcc-O2": "gcc-O2", "gcc-mk": "gcc-O2", "gcc-O1": "gcc-Os"}


def compiled_build(core: str, build: str) -> str:
    """The compiled build that is nearest, ``"<core>.<build>"``.

    Args:
        core: as profiles call it, such as ``"m4"``.
        build: one of :data:`mcusim.estimator.BUILDS`.
    """
    near = "m4-soft" if core.endswith("-soft") else _CORE.get(core, core)
    return f"{near}.{'gcc-Os' if build.endswith('-Os') else _FLAG.get(build, 'gcc-O3')}"
