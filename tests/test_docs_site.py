"""The site builds without a warning, and the notebook runs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_site_builds_with_warnings_as_errors(tmp_path):
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", str(tmp_path / "trees"), str(ROOT / "docs"), str(tmp_path / "site")],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in tmp_path.rglob("*.html")}
    written = {p.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
               for p in (ROOT / "docs").rglob("*.md")}  # fmt: skip
    assert written <= pages
    assert "assert_bit_exact" in (tmp_path / "site" / "reference.html").read_text("utf-8")


def test_every_page_is_in_a_table_of_contents():
    index = (ROOT / "docs" / "index.md").read_text("utf-8").splitlines()
    for path in (ROOT / "docs").glob("*.md"):
        assert path.stem == "index" or path.stem in index, path.name


def test_the_notebook_shows_tables_and_plots():
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))
    shown = []
    namespace: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = ast.Expression(tree.body.pop().value)
        exec(compile(tree, "notebook", "exec"), namespace)
        value = eval(compile(last, "notebook", "eval"), namespace)
        if hasattr(value, "_repr_html_"):
            shown.append(value._repr_html_())
    assert sum("<table>" in html for html in shown) == 3
    assert sum(html.startswith("<svg") for html in shown) == 1
