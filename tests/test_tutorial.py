"""The tutorial's commands do what it says: each is run, and its output held against the text."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mcusim

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"save this as `([\w.-]+)`")


def matches(shown: str, said: str) -> bool:
    """Whether ``said`` is what is shown, where ``...`` stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("..."))
    return re.fullmatch(pattern, said.strip(), re.DOTALL) is not None


@pytest.mark.skipif(sys.platform == "win32", reason="the tutorial speaks to a POSIX shell")
def test_every_command_prints_what_the_tutorial_shows(tmp_path):
    text = TUTORIAL.read_text()
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    for block in BLOCK.finditer(text):
        language, content = block.groups()
        if language == "toml":
            name = FILE_NAME.findall(text[: block.start()])[-1]
            (tmp_path / name).write_text(content)
        if language != "console":
            continue
        for step in content.removeprefix("$ ").split("\n$ "):
            command, _, shown = step.partition("\n")
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            assert done.returncode == 0, (command, done.stdout)
            assert matches(shown, done.stdout), (command, done.stdout)


def test_every_line_of_python_prints_what_the_tutorial_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(TUTORIAL), module_relative=False)
    assert tried > 3
    assert failed == 0


def test_the_package_s_own_example_is_true():
    failed, tried = doctest.testmod(mcusim)
    assert (failed, tried) == (0, 3)
