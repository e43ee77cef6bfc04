"""The benchmark of cells: problems are what they say, sets are trained alike, records are drawn. No timings."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch

from cellgate import bench
from cellgate.bench import cells_lags, cells_plot, cells_sets, child, results, sets
from cellgate.bench.cells_lags import CELLS, PROBLEMS, Trial
from cellgate.bench.cells_tables import NAMES, points
from cellgate.bench.sizes import Sizes
from cellgate.bench.tables import grouped
from cellgate.cli import run
from cellgate.errors import UsageError
from cellgate.ops import Rows, gru

STAMP = {
    "machine": {"cpu": "Abacus 3000", "cores": 2, "memory_gb": 24},
    "commit": "abc1234",
    "date": "2026-01-02T03:04:05+00:00",
    "command": "python -m cellgate bench cells",
}
QUICK = Sizes(threads=1, lag_steps=2, longest_lag=10)


def trial(lag: int, steps: int, error: float) -> dict[str, Any]:
    return {"lag": lag, "solved": error < 0.08, "steps": steps, "error": error, "seconds": 30.0}


def problem_record(seed: int, lstm: list[dict[str, Any]]) -> dict[str, Any]:
    cells = {"rnn": [trial(10, 1000, 0.171)], "gru": [trial(lag, 100, 0.01) for lag in (10, 50, 100)], "lstm": lstm}
    told = {"threads": 2, "steps": 1000, "lags": [10, 50, 100], "cells": {**cells, "peephole": lstm}}
    return {"bench": "cells", "set": "adding", "seed": seed, **told, **STAMP}


def set_record(seed: int, lstm: float) -> dict[str, Any]:
    trainings = [
        {"cell": cell, "directions": directions, "dev_accuracy": 0.8, "accuracy": lstm if cell == "lstm" else 0.7}
        for directions in (1, 2)
        for cell in NAMES
    ]
    told = {"threads": 2, "epochs": 5, "train_rows": 6920, "trainings": [{**t, "train_seconds": 90} for t in trainings]}
    return {"bench": "cells", "set": "sst2", "seed": seed, **told, **STAMP}


RECORDS = [
    problem_record(0, [trial(10, 100, 0.01), trial(50, 1000, 0.2)]),
    problem_record(1, [trial(10, 200, 0.01), trial(50, 300, 0.01), trial(100, 900, 0.01)]),
    problem_record(2, [trial(10, 300, 0.01), trial(50, 500, 0.01), trial(100, 1000, 0.16)]),
    set_record(0, 0.80),
    set_record(1, 0.84),
]


# the problems


def drawn(name: str, rows: int, lag: int) -> cells_lags.Drawn:
    return PROBLEMS[name].draw(rows, lag, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("lag", [2, 7, 10])
def test_adding_asks_for_two_marked_numbers(lag: int) -> None:
    x, answer = (given := drawn("adding", 300, lag)).x, given.answer
    assert isinstance(x, torch.Tensor)
    assert x.shape == (300, lag, 2)
    numbers, marks = x.unbind(2)
    assert marks[:, : lag // 2].sum(1).eq(1).all()
    assert marks[:, lag // 2 :].sum(1).eq(1).all()
    assert marks.any(0).all()  # every position is marked in some row
    for row in range(300):
        assert answer[row] == pytest.approx(sum(numbers[row][marks[row] == 1].tolist()))


def test_copy_asks_for_the_symbols_behind_the_blanks() -> None:
    x, answer = (given := drawn("copy", 200, 6)).x, given.answer
    assert isinstance(x, Rows)
    assert x.shape == (200, 4 + 6 + 4, 10)
    assert torch.equal(x.index[:, :4], answer)
    assert x.index[:, 4:10].eq(8).all()
    assert x.index[:, 10:].eq(9).all()
    assert sorted(set(answer.flatten().tolist())) == list(range(8))


def test_errors_of_who_does_not_look_and_of_who_knows() -> None:
    for name, blind in (("adding", torch.ones(1, 1, 1)), ("copy", torch.eye(8)[3].expand(1, 4, 8))):
        problem, answer = PROBLEMS[name], drawn(name, 20_000, 10).answer
        assert problem.error(blind.expand(20_000, -1, -1), answer).item() == pytest.approx(problem.unlearned, abs=0.01)
        assert problem.solved < problem.unlearned
        right = answer[:, None, None] if name == "adding" else 9.0 * torch.eye(8)[answer]
        assert problem.error(right, answer).item() == 0
        assert problem.loss(right, answer) < 0.01 < problem.loss(blind.expand(20_000, -1, -1), answer)


def test_lags_are_climbed_to_the_first_that_is_not_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    def learned(problem: object, cell: object, lag: int, steps: int, seed: int) -> Trial:
        return Trial(lag, lag != 50, steps, 0.1, 1.0)

    monkeypatch.setattr(cells_lags, "_learned", learned)
    trials = cells_lags.climbed(PROBLEMS["adding"], "lstm", (10, 25, 50, 100), 7, 0)
    assert [each.lag for each in trials] == [10, 25, 50]


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_learns_what_is_near(cell: Any) -> None:
    found = cells_lags._learned(PROBLEMS["adding"], cell, 2, 300, 0)
    assert found.solved
    assert found.steps < 300
    assert found.error <= 1 / 12


def test_a_cell_that_may_not_look_back_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer cannot be had from the last position alone: a problem that gave it away would be solved."""
    monkeypatch.setitem(CELLS, "gru", lambda x, weights: gru(x[:, -1:], weights))
    assert not cells_lags._learned(PROBLEMS["adding"], "gru", 10, 100, 0).solved


def test_trials_are_the_same_every_time_and_rows_for_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (cells_lags._learned(PROBLEMS["copy"], "lstm", 5, 3, 4) for _ in range(2))
    assert (one.error, one.steps) == (other.error, other.steps)
    assert cells_lags._learned(PROBLEMS["copy"], "lstm", 5, 3, 5).error != one.error
    seen: dict[str, list[float]] = {}
    for cell, door in list(CELLS.items()):

        def spy(x: Any, weights: Any, cell: str = cell, door: Any = door) -> Any:
            seen.setdefault(cell, []).append(x.sum().item())
            return door(x, weights)

        monkeypatch.setitem(CELLS, cell, spy)
        cells_lags._learned(PROBLEMS["adding"], cell, 5, 3, 0)
    assert all(sums == seen["rnn"] for sums in seen.values())
    assert len(set(seen["rnn"])) == 4  # three batches and the test rows


# what is measured


def test_a_problem_s_record_says_what_it_took() -> None:
    (told,) = bench.run("cells", ["copy"], seeds=(3,), sizes=QUICK)
    assert (told["set"], told["seed"], told["steps"], told["threads"], told["lags"]) == ("copy", 3, 2, 1, [5, 10])
    assert list(told["cells"]) == list(CELLS) == list(NAMES)
    for trials in told["cells"].values():
        assert [(each["lag"], each["solved"], each["steps"]) for each in trials] == [(5, False, 2)]
    assert told["command"].endswith("bench cells copy --seed 3 --threads 1 --lag-steps 2 --longest-lag 10")
    assert json.loads(json.dumps(told)) == told


def test_a_set_is_trained_alike_but_for_the_cell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = [(f"a good film {number}", "1") for number in range(9)]
    monkeypatch.setattr(sets, "find", lambda name: tmp_path)
    monkeypatch.setattr(sets, "load", lambda name: sets.Splits(rows, rows[:4], rows[4:6]))
    commands: list[list[str]] = []

    def ran(command: list[str], folder: Path) -> child.Finished:
        commands.append(command[3:])
        if "train" in command:
            assert (folder / "train.csv").read_text("utf-8").count("film") == 7
            assert (folder / "dev.csv").read_text("utf-8").count("film") == 4
            (folder / command[-1]).mkdir()
            manifest = {"metrics": {"dev": {"accuracy": 0.5}}}
            (folder / command[-1] / "bundle.json").write_text(json.dumps(manifest), "utf-8")
        return child.Finished(2.04, child.Memory(), json.dumps({"accuracy": 0.75, "macro_f1": 0.7}))

    monkeypatch.setattr(cells_sets, "run", ran)
    (told,) = bench.run("cells", ["sst2"], seeds=(5,), sizes=Sizes(threads=1, epochs=2, rows=7))
    assert (told["train_rows"], told["test_rows"], told["epochs"], told["seed"]) == (7, 2, 2, 5)
    assert [(each["cell"], each["directions"]) for each in told["trainings"]] == [
        (cell, directions) for directions in (1, 2) for cell in CELLS
    ]
    figures = {"dev_accuracy": 0.5, "accuracy": 0.75, "macro_f1": 0.7, "train_seconds": 2.0}
    assert all(figures.items() <= each.items() for each in told["trainings"])
    trained = [command for command in commands if command[0] == "train"]
    alike = {tuple(word for word in command if word not in (*CELLS, "1", "2"))[:-1] for command in trained}
    assert len(alike) == 1
    words = " ".join(trained[-1])
    assert "--linear.enabled false --encoder.cell peephole --encoder.directions 2 --train.seed 5" in words
    assert "--dev dev.csv" in words
    assert [command[2] for command in commands if command[0] == "evaluate"] == ["test.csv"] * 8
    assert told["command"].endswith("cells sst2 --seed 5 --threads 1 --epochs 2 --rows 7")


def test_a_wrong_part_stops_before_any_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="did you mean 'adding'"):
        next(bench.run("cells", ["copy", "addin"]))
    with pytest.raises(UsageError, match="longest-lag: expected 10 or more, adding's shortest, got 9"):
        next(bench.run("cells", ["adding"], sizes=Sizes(longest_lag=9)))
    monkeypatch.delenv("CELLGATE_DATA", raising=False)
    with pytest.raises(UsageError, match="CELLGATE_DATA is not set"):
        next(bench.run("cells", ["copy", "sst2"], sizes=QUICK))
    monkeypatch.setattr("cellgate.bench.cells.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"matplotlib.*pip install 'cellgate\[bench\]'"):
        next(bench.run("cells", ["copy"]))
    assert run(["bench", "kernels", "cells"]) == 2
    assert "cells has parts of its own and is measured alone: cellgate bench cells" in capsys.readouterr().err
    assert bench.names("cells") == ["sst2", "chnsenticorp", "adding", "copy"]


# what is shown


def test_the_page_says_where_each_cell_fails() -> None:
    page = results.render(RECORDS)
    assert "| adding | 1,000 steps a lag at most | 0, 1, 2 | 2 | A | abc1234 | 2026-01-02 |" in page
    assert "| sst2 | 5 passes over 6,920 rows | 0, 1 | 2 | A | abc1234 | 2026-01-02 |" in page
    assert "| RNN | 10 | fails, error 0.17 | - | - | 30 s |" in page
    assert "| GRU | none up to 100 | 100 steps | 100 steps | 100 steps | 1.5 min |" in page
    lstm = "| 100 | 200 steps | 400 steps (2 of 3 seeds) | fails, error 0.16 | 1.5 min |"
    assert f"| LSTM {lstm}" in page
    assert f"| LSTM with peepholes {lstm}" in page
    assert "| LSTM | one way | 82.00 % | 80.00 % | 1.5 min |" in page
    assert "| RNN | both ways | 70.00 % | 80.00 % | 1.5 min |" in page
    assert "](cells.svg)" in page


def test_one_seed_of_two_is_half_and_solves() -> None:
    (group,) = grouped(RECORDS[:2])
    assert [(each.lag, each.steps) for each in points(group, "lstm")] == [(10, 150), (50, 300), (100, 900)]
    assert [(each.lag, each.steps) for each in points(group, "rnn")] == [(10, None)]


def test_tables_name_the_machine_where_there_are_several() -> None:
    other = {**RECORDS[0], "machine": {**STAMP["machine"], "cpu": "Abacus 4000"}}  # type: ignore[dict-item]
    page = results.render([*RECORDS, other])
    assert "| adding, machine A |" in page
    assert "| adding, machine B |" in page


def test_the_figure_shows_every_part_and_the_same_bytes(tmp_path: Path) -> None:
    older = {**RECORDS[0], "machine": {**STAMP["machine"], "cpu": "Old"}, "date": "2020", "lags": [7]}  # type: ignore[dict-item]
    for name in ("a.svg", "b.svg"):
        cells_plot.draw([older, *RECORDS, {"bench": "startup", **STAMP}], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    texts = ["".join(each.itertext()) for each in ET.parse(tmp_path / "a.svg").iter("{http://www.w3.org/2000/svg}text")]
    for words in ("adding", "sst2", "LSTM with peepholes", "10", "100", "reads both ways", "accuracy on test [%]"):
        assert words in texts
    assert "7" not in texts  # of the older machine


def test_a_record_draws_the_figure_beside_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def measured(chosen: Any, seeds: Any, sizes: Any) -> Any:
        asked.append((list(chosen), tuple(seeds), sizes))
        yield RECORDS[0]

    monkeypatch.setattr("cellgate.bench.cells.cells", measured)
    words = ["bench", "cells", "adding", "--seed", "0", "--lag-steps", "2", "--record", str(tmp_path / "results.jsonl")]
    assert run(words) == 0
    assert asked == [(["adding"], (0,), Sizes(lag_steps=2))]
    assert {path.name for path in tmp_path.iterdir()} == {"results.jsonl", "results.md", "cells.svg"}
    shown = capsys.readouterr().out
    assert "fails at" in shown
    assert "1,000 steps a lag at most" in shown
    assert run(["bench", "cells", "--json"]) == 0
    assert asked[-1] == (["sst2", "chnsenticorp", "adding", "copy"], (), None)
