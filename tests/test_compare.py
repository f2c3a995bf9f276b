"""Two revisions of a model beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest

import mcusim
from mcusim import cli
from mcusim.advice.channels import channel_groups, resized
from mcusim.errors import InputError
from mcusim.report.comparison import compare, comparison_markdown
from mcusim.tflite import write

BOARD = "nucleo-l4r5zi"


def estimate(graph, board=BOARD):
    return mcusim.estimate(graph, mcusim.load_board(board))


def test_a_model_beside_itself_differs_nowhere():
    found = estimate(mcusim.load_model("ds-cnn"))
    same = compare(found, found)
    assert same.changed == ()
    assert len(same.layers) == len(found.layers)
    assert "No layer differs" in comparison_markdown(same)


def test_only_layers_with_other_channels_are_told():
    graph = mcusim.load_model("ds-cnn")
    group = channel_groups(graph)[1]
    found = compare(estimate(graph), estimate(resized(graph, group, 48)))
    told = {pair.after.index for pair in found.changed}
    # The operator that makes them, the depthwise one that passes them on, and the one that reads.
    assert told == {2, 3, 4}
    assert all(pair.after.latency_s < pair.before.latency_s for pair in found.changed)


def test_layers_that_are_gone_or_new_are_named():
    found = compare(estimate(mcusim.load_model("lenet-5")), estimate(mcusim.load_model("ds-cnn")))
    text = comparison_markdown(found)
    assert "| gone |" in text
    assert "| new |" in text
    before = [p.before.index for p in found.layers if p.before]
    after = [p.after.index for p in found.layers if p.after]
    assert before == sorted(before) == list(range(len(found.before.layers)))
    assert after == sorted(after) == list(range(len(found.after.layers)))


def test_other_boards_do_not_compare():
    graph = mcusim.load_model("lenet-5")
    with pytest.raises(InputError, match="only estimates of one board"):
        compare(estimate(graph), estimate(graph, "nucleo-l496zg"))


def test_the_command_fails_where_a_revision_is_slower(tmp_path, capsys):
    graph = mcusim.load_model("ds-cnn")
    wide = tmp_path / "wide.tflite"
    wide.write_bytes(write(resized(graph, channel_groups(graph)[1], 96)))
    report = tmp_path / "report.md"
    command = ["compare", "ds-cnn", str(wide), "--board", BOARD]
    assert cli._run([*command, "--markdown", str(report)]) == 0
    assert "3 of 13 layers differ" in report.read_text()
    assert cli._run([*command, "--slower", "2"]) == 1
    assert cli._run([*command, "--slower", "50"]) == 0
    assert "| latency |" in capsys.readouterr().out


def test_the_action_calls_commands_that_exist():
    """Options of `mcusim compare` as the GitHub Action calls them."""
    action = (Path(__file__).parents[1] / ".github/actions/compare-models/action.yml").read_text()
    called = action.split("mcusim compare")[1].split("echo")[0]
    options = {word for word in called.split() if word.startswith("--")}
    from mcusim.cli.compare import command

    assert options <= {option for p in command.params for option in p.opts}
