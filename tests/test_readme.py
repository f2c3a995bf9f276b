"""The README shows what the first command really prints."""

import re
from pathlib import Path

import pytest

from mcusim import cli

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def words_and_numbers(text):
    """The text without its numbers and its layout, and the numbers."""
    numbers = [float(number.replace(",", "")) for number in NUMBER.findall(text)]
    return re.sub(r"[\s─]+", " ", NUMBER.sub("0", text)).strip(), numbers


def test_the_example_is_what_make_run_prints(capsys):
    """In every word; numbers within 5 %, as fits of profiles move them a little."""
    readme = (ROOT / "README.md").read_text()
    example = readme.partition("<!-- example -->")[2].partition("<!-- end of example -->")[0]
    makefile = (ROOT / "Makefile").read_text()
    model, board = (
        re.search(rf"^{name} \?= (.+)$", makefile, re.M)[1] for name in ("MODEL", "BOARD")
    )
    assert cli._run(["run", model, "--board", board]) == 0
    said, numbers = words_and_numbers(capsys.readouterr().out)
    shown, expected = words_and_numbers(example.replace("```", "").replace("text\n", ""))
    assert shown == said
    assert numbers == pytest.approx(expected, rel=0.05, abs=0.1)
