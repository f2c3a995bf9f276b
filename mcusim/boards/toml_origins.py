"""Where each key of a TOML file stands, and the comment that follows it."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Origin", "origins"]

_TABLE = re.compile(r"^\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(#.*)?$")
_KEY = re.compile(r"""^\s*([A-Za-z0-9_."'-]+)\s*=(.*)$""")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


@dataclass(frozen=True)
class Origin:
    """The place of a key.

    Attributes:
        file: name of the file.
        line: from 1.
        comment: the comment behind the value, which names the source of a number.
    """

    file: str
    line: int
    comment: str = ""


def origins(text: str, file: str) -> dict[str, Origin]:
    """Places of the tables and keys of a TOML text that ``tomllib`` accepts.

    Keys within an inline table are not told apart: they stand where the table stands.

    Returns:
        Places by dotted key.
    """
    found: dict[str, Origin] = {}
    table, depth = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if depth == 0 and (header := _TABLE.match(line)):
            table = _plain(header[1])
            found[table] = Origin(file, number)
            continue
        value = line
        if depth == 0:
            if not (key := _KEY.match(line)):
                continue
            value = key[2]
            path = f"{table}.{_plain(key[1])}" if table else _plain(key[1])
            found[path] = Origin(file, number, _comment(value))
            for end in (i for i, sign in enumerate(path) if sign == "."):
                found.setdefault(path[:end], Origin(file, number))
        code = _STRING.sub("", value).partition("#")[0]
        depth += len(re.findall(r"[\[{]", code)) - len(re.findall(r"[\]}]", code))
    return found


def _plain(key: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in key.split("."))


def _comment(value: str) -> str:
    masked = _STRING.sub(lambda string: "_" * len(string[0]), value)
    start = masked.find("#")
    return value[start + 1 :].strip() if start >= 0 else ""
