"""Words loaded from addresses that are no multiple of four, against an emulator's memory hook."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

import mcusim
from mcusim.kernels.cmsis_nn.alignment import (
    Misaligned,
    misaligned_1x1,
    misaligned_columns,
    misaligned_dense,
    misaligned_depthwise_3x3,
    misaligned_widened_columns,
)
from mcusim.kernels.reference.convolution import Axis, ConvolutionShape
from tests.shared import SHARED, needs_shared
from tests.small_models import convolution


def shape(params: dict[str, Any], kernel_channels: int) -> ConvolutionShape:
    batches, height, width, channels = params["in_dims"]
    _, out_h, out_w, filters = params["out_dims"]
    kernel = params["f_dims"][1:3]
    extents = ((height, out_h, kernel[0]), (width, out_w, kernel[1]))
    vertical, horizontal = (
        Axis(*extent, params["stride"][i], params["dil"][i], params["pad"][i])
        for i, extent in enumerate(extents)
    )
    return ConvolutionShape(batches, vertical, horizontal, channels, kernel_channels, filters)


def predicted(op: str, params: dict[str, Any], function: str) -> Misaligned | None:
    if op == "conv_s8":
        found = shape(params, params["f_dims"][3])
        is_1x1 = (
            params["f_dims"][1:3] == [1, 1]
            and params["pad"] == [0, 0]
            and params["dil"] == [1, 1]
            and found.kernel_channels == found.in_channels
        )
        return misaligned_1x1(found) if is_1x1 else misaligned_columns(found)
    if function == "arm_depthwise_conv_3x3_s8":
        return misaligned_depthwise_3x3(shape(params, 1))
    if op == "fc_s8":
        return misaligned_dense(params["in_dims"][0], params["f_dims"][0], params["f_dims"][3])
    return None


@needs_shared
def test_every_counted_call_loads_as_many_misaligned_words():
    """Exactly, for each call whose run with a memory hook was valid."""
    with (SHARED / "golden" / "cmsis_nn" / "cases.csv").open(newline="") as file:
        cases = {row["id"]: row for row in csv.DictReader(file)}
    held = 0
    with (SHARED / "counted" / "cmsis_nn_kernels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["build"] != "m4_O3" or row["unaligned_valid"] != "1":
                continue
            case = cases[row["id"]]
            found = predicted(case["op"], json.loads(case["params_json"]), row["dominant_fn"])
            if found is not None:
                counted = Misaligned(float(row["ld_word_misal2"]), float(row["ld_word_misal1"]))
                assert found == counted, row["id"]
                held += 1
    assert held > 600


@needs_shared
def test_older_generations_load_and_store_as_many_misaligned_words():
    """Exactly, in each call of 2020, 2021 and 2022 whose run with a memory hook was valid."""
    with (SHARED / "golden" / "cmsis_nn" / "cases.csv").open(newline="") as file:
        cases = {row["id"]: row for row in csv.DictReader(file)}
    held = 0
    with (SHARED / "counted" / "cmsis_nn_kernels_old.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["unaligned_valid"] != "1" or row["dominant_fn"] == "arm_nn_mat_mult_nt_t_s8":
                continue
            params = json.loads(cases[row["id"]]["params_json"])
            if row["op"] == "conv_s8":
                found = misaligned_widened_columns(shape(params, params["f_dims"][3]))
            elif row["op"] == "fc_s8":
                inputs, outputs = params["f_dims"][0], params["f_dims"][3]
                words = inputs // 16 * 4 if "2020" in row["build"] else inputs // 4
                found = misaligned_dense(params["in_dims"][0], inputs, outputs, words)
            else:
                continue
            halves = float(row["ld_word_misal2"]) + float(row["st_word_misal2"])
            odds = float(row["ld_word_misal1"]) + float(row["st_word_misal1"])
            assert found == Misaligned(halves, odds), (row["id"], row["build"])
            held += 1
    assert held > 2000


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m0plus"])
def test_cores_that_load_bytes_misalign_nothing(tmp_path, core):
    path = tmp_path / "board.toml"
    path.write_text(f'base = "nucleo-l496zg"\ncore = "{core}"\n')
    board = mcusim.load_board(path)
    layer = mcusim.estimate(convolution(channels=7), board, "cmsis-nn").layers[0]
    assert layer.misaligned_accesses == 0


def test_seven_channels_cost_accesses_and_eight_do_not():
    board = mcusim.load_board("nucleo-l496zg")
    seven, eight = (
        mcusim.estimate(convolution(channels=c), board, "cmsis-nn").layers[0] for c in (7, 8)
    )
    assert seven.misaligned_accesses > 0
    assert eight.misaligned_accesses == 0
