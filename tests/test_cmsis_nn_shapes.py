"""Known non-uniformities of CMSIS-NN, which must come out of loop counts by themselves.

Figures are those of the counted kernels (GCC 12.2) and of the papers that found them on boards.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mcusim.calibration.cmsis_nn_page import PAGE, pages
from mcusim.calibration.shape_curves import (
    convolution,
    convolution_shape,
    dense,
    depthwise,
)
from mcusim.kernels.cmsis_nn.alignment import misaligned_columns

PIXELS = 6 * 6


def per_mac(channels: int, **settings: str) -> float:
    """Instructions a MAC of a 3x3 convolution to 8 channels."""
    return convolution(channels, **settings) / (PIXELS * 9 * 8 * channels)


@pytest.mark.parametrize(
    ("channels", "counted"), [(1, 14.1), (2, 8.26), (3, 6.22), (4, 4.97), (8, 3.5), (16, 2.73)]
)
def test_small_channel_counts_cost_more_a_product(channels, counted):
    assert per_mac(channels) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("inputs", [64, 80, 96, 128])
def test_a_dense_layer_has_a_period_of_four(inputs):
    """Three inputs more than a multiple of four take longer than four more."""
    totals = [dense(inputs + more) for more in range(5)]
    assert totals[0] < totals[1] < totals[2] < totals[3]
    assert totals[4] < totals[3]


def test_a_dense_layer_has_a_period_of_sixteen():
    """The loop over fours is unrolled four times: each further four costs less than the one before.

    The step to the next multiple of four falls over a period and starts again.
    """
    steps = [dense(k + 4) - dense(k) for k in range(64, 128, 4)]
    periods = np.array(steps).reshape(-1, 4)
    np.testing.assert_allclose(periods, np.broadcast_to(periods[0], periods.shape), atol=0.5)
    assert (np.diff(periods[0]) < 0).all()


def test_a_dense_layer_of_2020_falls_into_residues_of_nine_and_seven():
    """Products beyond a multiple of 16 are scalar: for 9 of 16 residues 16 is the faster choice."""
    for start in (64, 96, 128, 160):
        total = {k: dense(k, generation="2020") for k in range(start, start + 17)}
        slower = [k - start for k in range(start, start + 16) if total[k] > total[start + 16]]
        assert slower == list(range(7, 16))


@pytest.mark.parametrize(("kernel", "channels"), [(3, 12), (3, 16), (1, 8), (1, 12), (1, 16)])
def test_a_convolution_gets_faster_with_one_channel_more(kernel, channels):
    fewer, more = (convolution(c, kernel=kernel) for c in (channels - 1, channels))
    assert more < fewer


def test_depthwise_gains_little_from_simd():
    """Cortex-M3 over Cortex-M4: 1.1 for a depthwise 3x3, 1.5 for an ordinary one (counted)."""
    depthwise_gain = depthwise(32, core="m3") / depthwise(32)
    ordinary_gain = convolution(32, core="m3") / convolution(32)
    assert depthwise_gain == pytest.approx(1.1, abs=0.04)
    assert ordinary_gain == pytest.approx(1.5, abs=0.06)


@pytest.mark.parametrize("channels", [16, 32, 64])
def test_the_odd_output_channel_of_a_1x1_convolution_is_scalar(channels):
    """Nine output channels take longer than ten."""
    total = {n: convolution(channels, n, kernel=1, extent=4) for n in (8, 9, 10)}
    assert total[9] > total[10] > total[8]


def test_a_1x1_convolution_to_few_channels_takes_what_was_counted():
    """4x4 pixels of 16 channels, counted on the M4 at O3."""
    counted = {2: 2364, 3: 4716, 4: 4555, 7: 9098, 8: 8937, 9: 11289, 10: 11128, 64: 70285}
    for channels, total in counted.items():
        found = convolution(16, channels, kernel=1, extent=4)
        assert found == pytest.approx(total, rel=0.02)


def test_requantization_outweighs_short_sums():
    """An output costs tens of instructions beside its products, so that 1x1 sums of 1 cost 40."""
    assert convolution(1, kernel=1) / (PIXELS * 8) > 10 * convolution(64, kernel=1) / (
        PIXELS * 8 * 64
    )


def test_rows_of_a_filter_begin_between_words_unless_channels_divide_by_four():
    for channels in range(1, 33):
        found = misaligned_columns(convolution_shape(channels))
        assert (found.odd > 0) == (channels % 2 == 1)
        assert (found.half > 0) == (channels % 4 != 0)


def test_the_page_in_docs_has_the_sections_and_plots_that_the_code_writes():
    docs = Path(__file__).parents[1] / "docs"
    written = pages()
    titles = [line for line in written[PAGE].splitlines() if line.startswith("#")]
    shown = [line for line in (docs / PAGE).read_text().splitlines() if line.startswith("#")]
    assert shown == titles
    for name, content in written.items():
        assert (docs / name).is_file(), f"{name}: write the page again"
        if name.endswith(".svg"):
            ElementTree.fromstring(content)
            assert len(content) < 10_000
