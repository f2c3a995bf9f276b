"""What is swept: models, and every combination of settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from mcusim.boards import PLACES, Board, load_board
from mcusim.errors import InputError, ModelError
from mcusim.estimator import BUILDS
from mcusim.models import is_path, load_model
from mcusim.runtimes import legacy_q7
from mcusim.runtimes.closed import BUILD as CLOSED_BUILD
from mcusim.runtimes.selection import known_runtimes
from mcusim.sweep.pricing import Candidate, Point, Settings
from mcusim.tflite import write
from mcusim.zoo.description import is_description

__all__ = ["Space"]


@dataclass(frozen=True)
class Space:
    """Models x boards x runtimes x builds x clocks x placements.

    Attributes:
        models: each a path, a name of the zoo, or a description in a line.
        boards: names or paths of ``.toml`` files.
        runtimes: software that runs the models.
        builds: compilers and flags.
        clocks_hz: clocks of the core; None for the board's own.
        placements: where code, weights, arena and stack lie, where not as usual.
    """

    models: Sequence[str]
    boards: Sequence[str]
    runtimes: Sequence[str] = ("tflm",)
    builds: Sequence[str] = ("gcc-O3",)
    clocks_hz: Sequence[float | None] = (None,)
    placements: Sequence[Mapping[str, str]] = field(default_factory=lambda: ({},))

    def __len__(self) -> int:
        """Points, those that are named twice counted twice."""
        sizes = (self.boards, self.runtimes, self.builds, self.clocks_hz, self.placements)
        count = len(self.models)
        for size in sizes:
            count *= len(size)
        return count

    def settings(self) -> tuple[Settings, ...]:
        """Every combination of settings, each once.

        Raises:
            BoardError: there is no such board, or its file is damaged.
            InputError: there is no such runtime or build, or something that cannot be placed.
        """
        for runtime in self.runtimes:
            _require(runtime, "runtime", (*known_runtimes(), "tflm", "cmsis-nn"))
        for build in self.builds:
            _require(build, "build", (*BUILDS, *legacy_q7.BUILDS, CLOSED_BUILD))
        for what in (what for places in self.placements for what in places):
            _require(what, "thing to be placed", tuple(PLACES))
        boards = [(board, _digest_of(board)) for board in map(load_board, self.boards)]
        found = (
            Settings(
                board,
                digest,
                runtime.removesuffix("@2026"),
                build,
                float(board.clock.default_hz if clock_hz is None else clock_hz),
                tuple(sorted((PLACES | dict(places)).items())),
            )
            for (board, digest), runtime, build, clock_hz, places in product(
                boards, self.runtimes, self.builds, self.clocks_hz, self.placements
            )
        )
        return tuple({_key("", settings): settings for settings in found}.values())

    def candidates(self) -> Iterator[Candidate]:
        """The models, read one after the other.

        Raises:
            ModelError: there is no such file, or no such network in the zoo.
        """
        return map(_candidate, self.models)

    def points(self, settings: Sequence[Settings]) -> Iterator[tuple[Point, ...]]:
        """All points, model by model.

        Args:
            settings: those of :meth:`settings`.

        Raises:
            ModelError: there is no such file, or no such network in the zoo.
        """
        for candidate in self.candidates():
            yield tuple(
                Point(_key(candidate.digest, each), candidate, index)
                for index, each in enumerate(settings)
            )


def _require(word: str, what: str, known: Sequence[str]) -> None:
    if word not in known:
        listed = ", ".join(dict.fromkeys(known))
        raise InputError(f"there is no {what} {word!r}; there are {listed}")


def _key(digest: str, settings: Settings) -> str:
    return json.dumps(
        {
            "board": settings.board.name,
            "board_sha256": settings.board_digest,
            "build": settings.build,
            "clock_hz": settings.clock_hz,
            "model_sha256": digest,
            "placement": dict(settings.placement),
            "runtime": settings.runtime,
        },
        separators=(",", ":"),
    )


def _digest_of(board: Board) -> str:
    return _sha256(board.model_dump_json().encode())


def _candidate(text: str) -> Candidate:
    if is_description(text):
        line = " ".join(text.split())
        return Candidate(line, _sha256(b"description " + line.encode()))
    path = Path(text)
    if not is_path(text):
        graph = load_model(text)
        return Candidate(text, _sha256(write(graph)), graph)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{text}: {error.strerror}") from None
    if path.suffix != ".onnx":
        return Candidate(text, _sha256(content), content)
    try:
        graph = load_model(path)
    except ModelError as error:
        return Candidate(text, _sha256(content), error=str(error))
    # A file may hold its weights in others.
    return Candidate(text, _sha256(write(graph)), graph)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
