"""``tflm@ncs1.4`` against the firmware of Profentzas et al., counted as published."""

from __future__ import annotations

import math

import pytest

import mcusim
from mcusim.errors import UnsupportedOperatorError
from mcusim.runtimes import plan
from tests.shared import SHARED

#: Instructions of ``Invoke`` in zephyr.bin of chrpro/TinyML-Evaluation, from its own input.
_FIRMWARE = {"conv32_mnist": 138_488_153, "conv32_cifar10": 242_491_313}


@pytest.mark.parametrize(("name", "instructions"), _FIRMWARE.items())
def test_the_published_firmware_executes_as_many_instructions(name: str, instructions: int) -> None:
    path = SHARED / "models" / "profentzas" / f"{name}.tflite"
    if not path.exists():
        pytest.skip("the model is not here")
    board = mcusim.load_board("nrf52840-dk")
    found = mcusim.estimate(mcusim.load_model(path), board, "tflm@ncs1.4", "gcc-Os")
    assert math.isclose(found.instructions.total, instructions, rel_tol=0.002)
    assert all(layer.is_exact for layer in found.layers)


def test_what_was_not_counted_is_refused() -> None:
    with pytest.raises(UnsupportedOperatorError, match=r"DEPTHWISE_CONV_2D.*tflm@ncs1\.4"):
        plan(mcusim.load_model("ds-cnn"), "tflm@ncs1.4")
    with pytest.raises(UnsupportedOperatorError, match="float32"):
        plan(mcusim.load_model("conv-16-mnist:float32"), "tflm@ncs1.4")
