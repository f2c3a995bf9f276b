"""What TensorFlow 2.2.0's TFLM runs beside CMSIS-NN: five counted networks, and what they tell."""

from __future__ import annotations

import pytest

from mcusim.calibration.counted import CountedSet
from mcusim.calibration.tflm_2020_profiles import fit_all, main, observations
from mcusim.instruction_mix import CLASSES
from mcusim.kernels.profile import load_profile
from tests.shared import SHARED, needs_shared

COUNTED = CountedSet(SHARED / "counted")


@pytest.mark.parametrize(
    ("name", "level", "total"),
    [("reshape_int8", "byte", 8), ("invoke", "operator", 10), ("construct", "scale", 21)],
)
def test_a_loop_of_few_instructions_is_found(name, level, total):
    """RESHAPE of 2020 copies byte by byte; Ofast of the M4."""
    build = load_profile(f"tflm@2020/{name}").builds["m4.gcc-Ofast"]
    turn = build.per_turn[build.levels.index(level), : len(CLASSES)].sum()
    assert turn == pytest.approx(total, abs=0.1)


@needs_shared
def test_rows_are_fitted_by_what_they_run():
    fits = fit_all(observations(COUNTED))
    for fit in fits:
        assert fit.build in ("m4.gcc-Ofast", "m4.gcc-Os")
        for observation, error in zip(fit.observations, fit.fit_errors, strict=True):
            bound = 0.1 if observation.kind == "DEQUANTIZE" else 0.05
            assert abs(error) < bound, observation.id


@needs_shared
def test_the_command_tells_errors_of_rows_kept_out(capsys):
    assert main(["--counted", str(COUNTED.folder)]) == 0
    out = capsys.readouterr().out
    assert "tflm@2020/softmax_int8" in out
    assert "kept out of the fit" in out
