"""The commands of docs/calibrate.md do what it shows."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_tutorial import BLOCK, matches

PAGE = Path(__file__).parents[1] / "docs" / "calibrate.md"
FILE = re.compile(r"save this as `([\w.-]+)`")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the page's measurements in it, where its commands run."""
    text = PAGE.read_text()
    [content] = [content for language, content in BLOCK.findall(text) if language == "csv"]
    (tmp_path / FILE.findall(text)[0]).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="the page speaks to a POSIX shell")
def test_every_command_prints_what_the_page_shows(folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    blocks = [content for language, content in BLOCK.findall(PAGE.read_text())]
    consoles = [content for content in blocks if content.startswith("$ ")]
    assert consoles
    for content in consoles:
        for step in content.removeprefix("$ ").split("\n$ "):
            command, _, shown = step.partition("\n")
            done = subprocess.run(
                command,
                shell=True,
                env=os.environ | {"PATH": path},
                text=True,
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, (command, done.stderr)
            assert matches(shown, done.stdout), (command, done.stdout)


def test_every_line_of_python_prints_what_the_page_shows(folder):
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 3
    assert failed == 0
