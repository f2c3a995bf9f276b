"""Search for networks that beat one within the limits of a board.

    pip install 'mcusim[optuna]'
    python examples/search_with_optuna.py

Nothing is trained: time, energy, RAM and flash do not depend on the weights. Their number stands in
for accuracy, and a candidate has no fewer than the first network; put your own training there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import optuna

import mcusim
from mcusim.boards import Board
from mcusim.estimates import Estimate
from mcusim.graph import Graph
from mcusim.zoo import described

BOARD = "nucleo-l496zg"
START = "49x10x1 c64k10x4s2 d3 c64k1 d3 c64k1 d3 c64k1 d3 c64k1 a f12 softmax"
#: What the device has left for the network.
MOST_RAM_BYTES = 27 * 1024
MOST_FLASH_BYTES = 156 * 1024
BELOW_S = 0.080
MOST_ENERGY_J = 3.5e-3


@dataclass(frozen=True)
class Network:
    """A network and what it takes."""

    line: str
    weights: int
    estimate: Estimate

    def excess(self) -> dict[str, float]:
        """By what share it is beyond each limit; none above zero keeps to all."""
        found = self.estimate
        return {
            "RAM": (found.ram_bytes or 0) / MOST_RAM_BYTES - 1,
            "flash": found.flash_bytes / MOST_FLASH_BYTES - 1,
            "time": found.latency_s / BELOW_S - 1,
            "energy": found.energy_j / MOST_ENERGY_J - 1,
        }


def weights(graph: Graph) -> int:
    """Weights and biases."""
    return sum(t.elements for t in graph.main.tensors if t.is_constant)


def network(line: str, board: Board) -> Network:
    """Price a network with CMSIS-NN."""
    graph = described(line)
    return Network(line, weights(graph), mcusim.estimate(graph, board, "cmsis-nn"))


def suggested(trial: optuna.Trial) -> str:
    """A network in a line: the first convolution, then blocks that may halve the image."""
    first = trial.suggest_int("first channels", 16, 96, step=4)
    rows = trial.suggest_int("first rows", 3, 10)
    columns = trial.suggest_int("first columns", 3, 4)
    words = ["49x10x1", f"c{first}k{rows}x{columns}s2"]
    halved = trial.suggest_int("halved in block", 0, 4)
    for block in range(1, trial.suggest_int("blocks", 2, 5) + 1):
        channels = trial.suggest_int(f"channels {block}", 16, 160, step=4)
        words += ["d3s2" if block == halved else "d3", f"c{channels}k1"]
    return " ".join([*words, "a f12 softmax"])


def search(trials: int, seed: int = 0) -> tuple[Network, list[Network]]:
    """The first network, and those within the limits that are fastest for their weights."""
    board = mcusim.load_board(BOARD)
    start = network(START, board)
    known: dict[str, Network] = {}

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        line = suggested(trial)
        found = known[line] = known.get(line) or network(line, board)
        trial.set_user_attr("line", line)
        for limit, excess in found.excess().items():
            trial.set_constraint(limit, excess)
        trial.set_constraint("weights", 1 - found.weights / start.weights)
        return found.estimate.latency_s, float(found.weights)

    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=40)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    study.enqueue_trial(
        {"first channels": 64, "first rows": 10, "first columns": 4, "halved in block": 0}
        | {"blocks": 4}
        | {f"channels {block}": 64 for block in range(1, 5)}
    )
    study.optimize(objective, n_trials=trials)
    lines = dict.fromkeys(trial.user_attrs["line"] for trial in study.best_trials)
    best = [
        known[line]
        for line in lines
        if max(known[line].excess().values()) <= 0 and known[line].weights >= start.weights
    ]
    return start, sorted(best, key=lambda found: found.estimate.latency_s)


def said(found: Network) -> str:
    """A line of the table."""
    taken = found.estimate
    return (
        f"{1e3 * taken.latency_s:7.1f} ms  {1e3 * taken.energy_j:5.2f} mJ  "
        f"{taken.ram_bytes or 0:7,} B RAM  {taken.flash_bytes:8,} B flash  "
        f"{found.weights:7,} weights  {found.line}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    start, best = search(options.trials, options.seed)
    print(f"start   {said(start)}")
    for found in best[:8]:
        print(f"found   {said(found)}")
    print(f"{len(best)} networks within the limits of {BOARD}, of {options.trials} tried")


if __name__ == "__main__":
    main()
