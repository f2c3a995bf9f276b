"""Tables of how well calls of CMSIS-NN that no fit had seen are predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mcusim.calibration.held_out_calls import HeldOutCall, held_out_calls
from mcusim.calibration.kept_out import by

__all__ = ["held_out_section"]

#: Builds of TFLM, whose rows of single calls are those of another build.
_BORROWED = (".gcc-mk",)
_NEWEST = "2026"
#: What is called, by the kind of call.
_FUNCTIONS = {
    "add": "arm_elementwise_add",
    "avgpool": "arm_avgpool",
    "bmm": "arm_batch_matmul",
    "conv": "arm_convolve_wrapper",
    "dwconv": "arm_depthwise_conv_wrapper",
    "fc": "arm_fully_connected",
    "maxpool": "arm_max_pool",
    "mul": "arm_elementwise_mul",
    "reshape": "arm_reshape",
    "softmax": "arm_softmax",
    "svdf": "arm_svdf",
    "tconv": "arm_transpose_conv_wrapper",
}


def held_out_section() -> str:
    """Text of a section with its tables, in Markdown."""
    calls = [c for c in held_out_calls() if not c.build.endswith(_BORROWED)]
    newest = [c for c in calls if c.generation == _NEWEST]
    older = [c for c in calls if c.generation != _NEWEST]
    blind = _blind(newest)
    return "\n".join(
        [
            "## How exact the counts are",
            "",
            "Single calls, each predicted by a fit of its build that had not seen it (one of ten "
            "parts of the calls is kept out at a time, short lists one by one): relative error of "
            "the total of instructions in percent, at the median, at the 95th percentile and at "
            "worst. Calls of our own, which the fits see beside these, are not among them. Of a "
            "Cortex-M55 only totals were counted.",
            "",
            *_table("build", newest, lambda call: call.build),
            "",
            "Each kernel, its largest errors over all builds, and the build that has the worst:",
            "",
            *_by_kind(newest),
            "",
            "These are errors with the data of the call known where they were recorded; shapes, "
            f"scales and shifts alone decide the others. Without its data {blind}. Counts "
            "depend on data where a softmax leaves out elements far below the largest, where a "
            "maximum is replaced, where a mean is divided in software, and by a few branches an "
            "output where results are rounded.",
            "",
            "Older libraries, each in the builds that were counted:",
            "",
            *_table("library", older, lambda call: f"{call.generation}, {call.build}"),
            "",
        ]
    )


def _table(title: str, calls: Iterable[HeldOutCall], of: Callable[[HeldOutCall], str]) -> list[str]:
    lines = [
        f"| {title} | calls | median | 95 % | worst | worst call |",
        "|---|---|---|---|---|---|",
    ]
    for name, own in sorted(by(calls, of).items()):
        worst = max(own, key=lambda call: abs(call.error))
        lines.append(
            f"| {name} | {len(own):,} | {_figures([c.error for c in own])} | "
            f"{worst.id.split()[0]} |"
        )
    return lines


def _by_kind(calls: Sequence[HeldOutCall]) -> list[str]:
    lines = ["| kernel | calls | median | 95 % | worst | build |", "|---|---|---|---|---|---|"]
    for kind in sorted({call.kind for call in calls}):
        own = [call for call in calls if call.kind == kind]
        builds = sorted({call.build for call in own})
        errors = {b: np.abs([c.error for c in own if c.build == b]) for b in builds}
        worst = max(builds, key=lambda build: errors[build].max())
        figures = [
            max(float(np.quantile(found, level)) for found in errors.values())
            for level in (0.5, 0.95, 1.0)
        ]
        shown = " | ".join(f"{100 * figure:.2f}" for figure in figures)
        name, _, width = kind.partition("_")
        lines.append(f"| `{_FUNCTIONS[name]}_{width}` | {len(errors[worst])} | {shown} | {worst} |")
    return lines


def _blind(calls: Sequence[HeldOutCall]) -> str:
    """The kernels that are predicted worse without data, at the 95th percentile."""
    found = []
    for kind in sorted({call.kind for call in calls}):
        known, unknown = (
            float(np.quantile(np.abs([getattr(c, n) for c in calls if c.kind == kind]), 0.95))
            for n in ("error", "error_unknown")
        )
        if unknown > known + 0.005:
            name, _, width = kind.partition("_")
            found.append(f"`{_FUNCTIONS[name]}_{width}` {100 * unknown:.1f} %")
    return f"95 % of the calls lie within: {', '.join(found)}" if found else "they are no larger"


def _figures(errors: Sequence[float]) -> str:
    quantiles = np.quantile(np.abs(errors), [0.5, 0.95, 1.0])
    return " | ".join(f"{100 * figure:.2f}" for figure in quantiles)
