"""The table that people read: nothing cut, what is guessed is marked, and what is missing."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

import mcusim
from mcusim import pricing
from mcusim.kernels.closest import closest_profile
from mcusim.report import dominant_lines, layer_table, summary_lines
from tests.small_models import convolution, pooling

BOARD = mcusim.load_board("nucleo-l496zg")


def rendered(found, width):
    console = Console(width=width or 500)
    with console.capture() as capture:
        console.print(layer_table(found, width))
    return capture.get()


@pytest.mark.parametrize("width", [None, 120, 100, 80, 60])
def test_no_width_cuts_a_number(width):
    found = mcusim.estimate(convolution(), BOARD)
    text = rendered(found, width)
    assert "…" not in text
    assert f"{found.latency_s * 1e3:.3f}"[:5] in text
    assert all(len(line.rstrip()) <= (width or 500) for line in text.splitlines())


def test_a_wide_table_has_every_column():
    text = rendered(mcusim.estimate(convolution(), BOARD), None)
    for title in ("operator", "shapes", "kernel", "MACs", "instructions", "cycles", "ms", "share"):
        assert title in text
    assert "1x12x12x16 → 1x12x12x16" in text
    assert "331,776" in text


def test_a_narrow_table_drops_columns_whole():
    text = rendered(mcusim.estimate(convolution(), BOARD), 60)
    assert "cycles" not in text
    assert "share" in text


def test_guessed_and_missing_cells_are_marked(monkeypatch):
    assert "~" in rendered(mcusim.estimate(convolution(), BOARD, build="gcc-Ofast"), None)
    monkeypatch.setattr(pricing, "closest_profile", lambda name, core, build: None)
    found = mcusim.estimate(pooling(), BOARD)
    assert "?" in rendered(found, None)
    assert "unknown" in summary_lines(found)[0]
    assert dominant_lines(found) == []


def test_time_without_some_layers_says_so(monkeypatch):
    def without_pooling(name, core, build):
        return None if "pool" in name else closest_profile(name, core, build)

    monkeypatch.setattr(pricing, "closest_profile", without_pooling)
    found = mcusim.estimate(mcusim.load_model("lenet-5"), BOARD)
    assert "without 2 layers that nothing prices" in summary_lines(found)[0]


def test_shares_add_up_to_the_whole():
    text = rendered(mcusim.estimate(convolution(), BOARD), None)
    shares = [float(share) for share in re.findall(r"([\d.]+) %", text)]
    assert sum(shares[:-1]) == pytest.approx(100, abs=0.2)
    assert shares[-1] == 100


def test_memory_is_held_against_the_board():
    found = mcusim.estimate(convolution(), BOARD)
    tiny = BOARD.model_copy(update={"ram": BOARD.ram.model_copy(update={"bytes": 1000})})
    [ram] = [line for line in summary_lines(found) if line.startswith("RAM")]
    assert "of 327,680 bytes" in ram
    small = replace(found, board=tiny)
    [ram] = [line for line in summary_lines(small) if line.startswith("RAM")]
    assert "DOES NOT FIT" in ram


def test_the_dominant_operator_is_named():
    lines = dominant_lines(mcusim.estimate(convolution(), BOARD))
    assert "CONV_2D 100 % (1 layer)" in lines[0]
    assert "cycles an instruction" in lines[1]


def test_a_terminal_that_is_too_narrow_still_gets_every_number(monkeypatch, capsys):
    from mcusim.cli import console

    monkeypatch.setattr(console, "_output", lambda: Console(width=30))
    found = mcusim.estimate(convolution(), BOARD)
    console.show(layer_table(found, 30))
    assert "…" not in capsys.readouterr().out
