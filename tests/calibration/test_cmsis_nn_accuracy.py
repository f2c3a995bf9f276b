"""The page on layers with CMSIS-NN says what was kept out and what misses."""

from mcusim.calibration.cmsis_nn_accuracy import KeptOutLayer, page


def layers(errors: list[float], build: str = "m4.gcc-O3", *, shared: bool = True):
    return [
        KeptOutLayer("PAD i8", build, f"pad_i8_{i:03d}", shared, error, error / 2)
        for i, error in enumerate(errors)
    ]


def test_a_build_within_both_targets_is_met():
    text = page(layers([0.001, -0.002, 0.03]))
    assert "| PAD i8 | 3 | 0.20 | 2.72 | 3.00 | pad_i8_002, m4.gcc-O3 | 1.36 | 1 of 1 |" in text
    assert text.endswith("## What misses\n\nNothing.\n")


def test_what_misses_is_named_with_its_build():
    """A median of 2 % misses, however narrow the rest is; our models stand apart."""
    text = page([*layers([0.02, 0.02]), *layers([0.001], "m3.gcc-O3", shared=False)])
    assert "- **PAD i8**, shared models: m4.gcc-O3 2.00 / 2.00 / 2.00." in text
    assert "our models:" not in text
