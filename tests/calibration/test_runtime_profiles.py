"""Profiles of uTensor and dnnruntime are those that their counted runs give."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from mcusim.calibration.level_fit import fit_sample
from mcusim.calibration.runtime_profiles import RUNTIMES, samples
from mcusim.instruction_mix import CLASSES
from mcusim.kernels.profile import load_profile
from mcusim.resources import data_path


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_profiles_hold_the_hash_of_their_counts(runtime: str) -> None:
    counted = data_path("calibration", "counted", f"{runtime}.csv.gz")
    wanted = {counted.name: hashlib.sha256(counted.read_bytes()).hexdigest()}
    files = sorted(data_path("kernels", runtime).glob("*.json"))
    assert files
    for file in files:
        assert json.loads(file.read_text())["dataset_sha256"] == wanted, file.name


@pytest.mark.parametrize(
    ("profile", "build"),
    [("utensor/fully_connected_int8", "m4.gcc-Os"), ("dnnruntime/matvec_u8", "m0plus.gcc-O3")],
)
def test_a_fit_gives_what_is_stored(profile: str, build: str) -> None:
    runtime = profile.partition("/")[0]
    sample = next(s for name, key, s in samples(runtime) if (name, key) == (profile, build))
    stored = load_profile(profile)
    assert stored is not None
    assert stored.builds[build].levels == sample.levels
    fitted = fit_sample(sample).per_turn
    np.testing.assert_allclose(stored.builds[build].per_turn, fitted, rtol=1e-5, atol=1e-5)


def test_a_product_takes_what_its_instructions_say() -> None:
    """The inner loop of dnn_matvec_u8 at O3 as disassembled.

    M4: three loads, two extensions, two differences, two packings, two products, two for pointers,
    compare and branch for four products, and what rows of few quads add; M0+: about ten for one.
    """
    stored = load_profile("dnnruntime/matvec_u8")
    assert stored is not None
    turns = {
        key: dict(zip(build.levels, build.per_turn[:, : len(CLASSES)].sum(axis=1), strict=True))
        for key, build in stored.builds.items()
    }
    assert 13.5 < turns["m4.gcc-O3"]["quad"] < 15.5
    assert 9.5 < turns["m0plus.gcc-O3"]["product"] < 10.5


def test_utensor_takes_two_hundred_instructions_a_product() -> None:
    """Every access to a tensor is a virtual call that computes an index from a shape."""
    stored = load_profile("utensor/conv_2d_int8")
    assert stored is not None
    build = stored.builds["m4.gcc-Os"]
    tap = build.per_turn[build.levels.index("tap"), : len(CLASSES)].sum()
    assert 150 < tap < 250
    assert build.held_out_p95 < 0.01
