"""What is recorded of calls of CMSIS-NN that were kept out of the fit is what was asked for."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from mcusim.calibration.held_out_calls import held_out_calls


def test_calls_kept_out_are_predicted_in_every_build() -> None:
    errors: dict[str, list[float]] = defaultdict(list)
    for call in held_out_calls():
        if call.generation == "2026":
            errors[call.build].append(abs(call.error))
    assert {"m0plus.gcc-O3", "m3.gcc-O3", "m4.gcc-O2", "m4.gcc-Os", "m55.gcc-O3"} <= errors.keys()
    for build, found in errors.items():
        if len(found) < 1000:
            continue  # a build of TFLM's, with a few calls of the library alone
        median, p95, worst = np.quantile(found, [0.5, 0.95, 1.0])
        assert median < 0.005, build
        assert p95 < (0.05 if build.startswith("m55") else 0.02), build
        assert worst < (0.06 if build.startswith("m55") else 0.05), build


def test_calls_of_older_libraries_are_predicted_as_well() -> None:
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for call in held_out_calls():
        if call.generation != "2026":
            errors[call.generation, call.build].append(abs(call.error))
    assert {generation for generation, _ in errors} == {"2020", "2020apr", "2021", "2022"}
    for key, found in errors.items():
        median, p95, worst = np.quantile(found, [0.5, 0.95, 1.0])
        assert median < 0.005, key
        assert p95 < 0.02, key
        assert worst < 0.05, key
