"""Fits the profiles of runtimes whose kernels were counted one call at a time.

``calibration/counted/<runtime>.csv.gz`` holds the counts: kernel, core, build, a name for the case,
how often each loop level ran, and the instructions executed by class.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mcusim.calibration.level_fit import Sample, fit_sample
from mcusim.calibration.profile_file import FittedBuild, FittedProfile, profile_text
from mcusim.instruction_mix import FIELDS
from mcusim.resources import data_path

__all__ = ["RUNTIMES", "UNKNOWN", "fitted_profiles", "main", "samples"]

#: What was counted for each runtime, in words.
RUNTIMES = {
    "tflm@ncs1.4": (
        "fitted on instructions counted in an emulator: the published firmware zephyr.bin of "
        "github.com/chrpro/TinyML-Evaluation, Tensorflow-micro/MNIST-Models (nRF Connect SDK "
        "1.4.0, GCC 9.2.1, -Os, assertions on), given models of one operator"
    ),
    "dnnruntime": (
        "fitted on instructions counted in an emulator: kernels/dnnruntime/dnnruntime.c, our own "
        "reading of the paper, called by bench.c there, arm-none-eabi-gcc 12.2.1"
    ),
    "utensor": (
        "fitted on instructions counted in an emulator: uTensor 2cb1b70 (2020-06-18), operators as "
        "its code generator calls them, arm-none-eabi-gcc 12.2.1 -std=gnu++14 -fno-rtti "
        "-fno-exceptions -funsigned-char, newlib"
    ),
    "weight_formats": (
        "fitted on instructions counted in an emulator: kernels/weight_formats/weight_formats.c, "
        "our own reading of Svoboda et al. 2022, section 6, called one at a time by "
        "mcusim.calibration.weight_format_counts, arm-none-eabi-gcc 12.2.1"
    ),
    "soft_float": (
        "what a product with a zero spares in libgcc's float32 multiplication and addition: "
        "convolutions and dense layers of TFLite Micro 90b983c counted in an emulator with and "
        "without zeros among their inputs, arm-none-eabi-gcc 12.2.1"
    ),
}


#: What is not known beside the counts, relative, one standard deviation. Of dnnruntime only the
#: paper is public. Its interval of 90 % reaches from our reading to the other plausible one: a
#: matrix product without SIMD on the M4 executes 1.6 times as much. How many values are zero after
#: a ReLU is told by :mod:`mcusim.runtimes.typical_zeros`: half, give or take a fifth.
UNKNOWN = {"dnnruntime": 0.3, "soft_float": 0.4}


def samples(runtime: str) -> Iterator[tuple[str, str, Sample]]:
    """Counted rows by profile and build.

    Args:
        runtime: one that has a file of counts.
    """
    rows: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(gzip.decompress(_counted(runtime)).decode())):
        rows[f"{runtime}/{row['kernel']}", f"{row['core']}.{row['build']}"].append(row)
    for (profile, build), found in rows.items():
        turns = [json.loads(row["turns"]) for row in found]
        counts = [json.loads(row["counts"]) for row in found]
        levels = tuple(turns[0])
        yield (
            profile,
            build,
            Sample(
                tuple(row["case"] for row in found),
                levels,
                np.array([[float(row[level]) for level in levels] for row in turns]),
                np.array([[float(row.get(name, 0)) for name in FIELDS] for row in counts]),
            ),
        )


def fitted_profiles(runtime: str, source: str = "") -> list[FittedProfile]:
    """The runtime's profile files.

    Args:
        runtime: one that has a file of counts.
        source: what was counted, in words; empty for what :data:`RUNTIMES` says.
    """
    builds: dict[str, dict[str, FittedBuild]] = defaultdict(dict)
    for profile, build, sample in samples(runtime):
        fit = fit_sample(sample)
        held_out = np.abs(fit.held_out_errors)
        builds[profile][build] = FittedBuild(
            levels=sample.levels,
            per_turn=fit.per_turn,
            unseen=tuple(
                level
                for position, level in enumerate(sample.levels)
                if not sample.turns[:, position].any()
            ),
            rows=len(sample.ids),
            held_out_median=float(np.nanmedian(held_out)),
            held_out_p95=float(np.nanquantile(held_out, 0.95)),
            # Few branches depend on data, and data differ from row to row.
            spread=UNKNOWN.get(runtime, 0.0),
        )
    dataset = {f"{runtime}.csv.gz": hashlib.sha256(_counted(runtime)).hexdigest()}
    said = source or RUNTIMES[runtime]
    return [FittedProfile(name, said, dataset, of) for name, of in builds.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit a runtime's profiles and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime", choices=sorted(RUNTIMES))
    chosen = parser.parse_args(arguments).runtime
    for profile in fitted_profiles(chosen):
        path = data_path("kernels", *profile.name.split("/")).with_suffix(".json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(profile_text(profile))
        worst = max(profile.builds.items(), key=lambda item: item[1].held_out_p95)
        sys.stdout.write(
            f"{profile.name}: {len(profile.builds)} builds, worst held-out "
            f"{100 * worst[1].held_out_median:.2f} % median, "
            f"{100 * worst[1].held_out_p95:.2f} % p95 ({worst[0]})\n"
        )
    return 0


def _counted(runtime: str) -> bytes:
    return Path(data_path("calibration", "counted", f"{runtime}.csv.gz")).read_bytes()


if __name__ == "__main__":
    raise SystemExit(main())
