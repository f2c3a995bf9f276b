"""Reports as files: HTML in a real browser, Markdown, CSV."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import shutil
import subprocess
from dataclasses import replace

import pytest

import mcusim
from mcusim import cli
from mcusim.report.page import html_page
from mcusim.report.text import csv_text, markdown_text
from mcusim.report.timeline import perfetto_trace

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(html.parser.HTMLParser):
    """Counts tags, and notes what is wrong in how they nest."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def estimates():
    """A model on two boards."""
    graph = mcusim.load_model("ds-cnn")
    boards = [mcusim.load_board(name) for name in ("nucleo-l4r5zi", "nucleo-f767zi")]
    return [mcusim.estimate(graph, board, "cmsis-nn") for board in boards]


def test_the_page_stands_alone_and_nests(estimates):
    text = html_page(estimates[0], estimates[1:])
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.seen}
    assert "http" not in text
    drawn = [attrs for tag, attrs in page.seen if tag == "rect"]
    assert len(drawn) == len(estimates[0].memory.placements)
    rows = [attrs for tag, attrs in page.seen if tag == "th" and attrs.get("scope") == "row"]
    assert len(rows) > len(estimates[0].layers)
    assert all(attrs.get("aria-label") for tag, attrs in page.seen if tag == "svg")


def test_a_name_cannot_write_into_the_page(estimates):
    wicked = replace(estimates[0], model="<script>alert(1)</script>")
    assert "<script>" not in html_page(wicked)
    assert "<script>" not in markdown_text(wicked)


def test_what_nothing_prices_is_no_zero(estimates):
    first = estimates[0].layers[0]
    blank = replace(first, priced_by="", latency_s=0.0)
    found = replace(estimates[0], layers=(blank, *estimates[0].layers[1:]))
    assert "nothing prices it" in html_page(found)
    assert f"| 0 {first.operator} | ? | ? | ? |" in markdown_text(found)
    row = next(csv.DictReader(io.StringIO(csv_text(found))))
    assert (row["cycles"], row["latency_s"]) == ("", "")


def test_the_layers_of_the_csv_add_up(estimates):
    rows = list(csv.DictReader(io.StringIO(csv_text(estimates[0]))))
    assert len(rows) == len(estimates[0].layers) + 1
    assert sum(float(row["latency_s"]) for row in rows) == pytest.approx(estimates[0].latency_s)
    causes = [key for key in rows[0] if key.startswith("cycles_")]
    for row in rows:
        assert sum(float(row[c]) for c in causes) == pytest.approx(float(row["cycles"]))


def test_run_writes_all_of_them(tmp_path, capsys):
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "markdown", "csv")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", str(path))]
    assert cli._run(["run", "lenet-5", "--board", "nucleo-l4r5zi", *options]) == 0
    page = files["html"].read_text("utf-8")
    assert "nucleo-u575zi-q" in page
    assert "on the front" in page
    assert "What to change" in page
    assert "run it with cmsis-nn" in page
    assert files["csv"].read_text().startswith("index,operator")
    assert "| latency |" in files["markdown"].read_text()


def test_the_timeline_is_as_long_as_the_inference(estimates):
    trace = perfetto_trace(estimates[0])
    layers = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] == 1]
    causes = [e for e in trace["traceEvents"] if e["ph"] == "X" and e["tid"] == 2]
    whole_us = 1e6 * estimates[0].latency_s
    assert layers[-1]["ts"] + layers[-1]["dur"] == pytest.approx(whole_us)
    assert sum(e["dur"] for e in causes) == pytest.approx(whole_us)
    currents = [e["args"]["mA"] for e in trace["traceEvents"] if e["ph"] == "C"]
    power_w = estimates[0].energy_j / estimates[0].latency_s
    supply_v = estimates[0].board.power.supply_v
    assert max(currents) == pytest.approx(1e3 * power_w / supply_v, rel=0.01)
    assert json.loads(json.dumps(trace)) == trace


def test_an_overlay_names_the_tensors_of_the_model(tmp_path, capsys):
    path, trace = tmp_path / "overlay.json", tmp_path / "trace.json"
    files = ["--model-explorer", str(path), "--trace", str(trace)]
    assert cli._run(["run", "ds-cnn", "--board", "nucleo-l4r5zi", *files]) == 0
    overlay = json.loads(path.read_text())
    names = [node.outputs[0].name for node in mcusim.load_model("ds-cnn").main.nodes]
    assert list(overlay["results"]) == names
    assert all(result["value"] > 0 for result in overlay["results"].values())
    assert json.loads(trace.read_text())["traceEvents"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("width", [360, 1280])
def test_a_browser_shows_the_page_without_a_sideways_scroll(estimates, tmp_path, width):
    """The document is as wide as the window; wide tables scroll in their own frames."""
    path = tmp_path / "report.html"
    probe = (
        "<script>addEventListener('load',()=>{document.title="
        "document.documentElement.scrollWidth+' '+innerWidth+' '+"
        "document.querySelectorAll('svg').length})</script></body>"
    )
    path.write_text(html_page(estimates[0], estimates[1:]).replace("</body>", probe))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},800", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    title = dom.split("<title>")[1].split("</title>")[0]
    scroll_width, inner_width, drawings = map(int, title.split())
    assert scroll_width <= inner_width
    assert drawings == 2
