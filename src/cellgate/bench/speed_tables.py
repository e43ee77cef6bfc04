"""The tables of `kernels`, `train`, `tagging` and `generate`: several contestants a record, a row or a column each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cellgate.bench.figures import (
    STAMP,
    Figure,
    Group,
    Table,
    Target,
    cell,
    count,
    held,
    listed_cells,
    mb,
    number,
    percent,
    seconds,
    times,
)

_CONTESTANTS = {
    "kernel": "ours, numpy",
    "padded": "torch padded",
    "packed": "torch packed",
    "onnxruntime": "onnxruntime",
    "keras": "Keras on JAX",
}
_PASSES = {"forward": "forward", "forward_backward": "forward and backward"}

_SUMMARY = (
    Figure("threads", "threads", count),
    Figure("sgemm_gflops", "sgemm [GFLOP/s]", count),
    Figure("neighbour.two_over_one", "two threads / one beside a busy neighbour", times),
    Figure("rounds_run", "rounds of all shapes", count),
    Figure("rounds_thrown_away", "of them thrown away", count),
)
_NEIGHBOUR = Target(1.3, at_least=False)
_MEANS = {  # pass and contestant: how many times as long as ours
    ("forward_backward", "padded"): Target(2.5, at_least=True),
    ("forward_backward", "packed"): Target(7, at_least=True),
}
_EACH = {  # the same of every shape with at least so many rows
    ("forward_backward", "padded"): (1, Target(1.5, at_least=True)),
    ("forward", "onnxruntime"): (32, Target(2.5, at_least=True)),
}
# Of forward and backward alone, and where rows and units are enough to fill the cores.
_SHARE = Target(0.55, at_least=True)
_SHARE_ROWS, _SHARE_HIDDEN = 32, 128
_ONE_TOKEN = {"onnxruntime": Target(1.0, at_least=True)}

_ARMS = {"ours": "ours", "padded": "torch padded", "packed": "torch packed"}
_FASTER = {"padded": Target(3, at_least=True), "packed": Target(15, at_least=True)}

_FASTER_THAN_TORCH = Target(2.5, at_least=True)
_WRITING = {
    Figure("writing.float_characters_per_second", "written, float [characters/s]", count): Target(1_700, at_least=True),
    Figure("writing.int8_characters_per_second", "written, int8 [characters/s]", count): Target(3_000, at_least=True),
}

_TAGGERS = {"ours": "ours", "flair": "Flair"}
_ANSWERED = (
    Figure("answering.tokens_per_second", "tokens/s", count),
    Figure("answering.tokens", "tokens of the file", count),
    Figure("answering.start_seconds", "first text, with starting", seconds),
    Figure("answering.peak_mb", "peak memory", mb),
)
_ANSWERS = Target(40_000, at_least=True)
_FASTER_THAN_FLAIR = Target(3, at_least=True)


def kernels(groups: Sequence[Group], named: Callable[[str], str]) -> list[Table]:
    """A row a machine; then a row a shape and pass; then a row a width of one token."""
    head = (*(figure.heading for figure in _SUMMARY), "served by", "left out", *STAMP)
    rows = []
    for group in groups:
        targets = {"neighbour.two_over_one": _NEIGHBOUR}
        cells = [cell(group, figure, targets.get(figure.path)) for figure in _SUMMARY]
        newest = group.records[-1]
        out = [f"{_CONTESTANTS[name]}: {why}" for name, why in newest["left_out"].items()]
        served = dict.fromkeys(shape["backend"] for shape in newest["shapes"])
        rows.append((*cells, listed_cells(list(served)), listed_cells(out) or "-", *group.stamp(named)))
    return [Table(head, tuple(rows)), _shapes(groups, named), _tokens(groups, named)]


def _shapes(groups: Sequence[Group], named: Callable[[str], str]) -> Table:
    shown = _shown(groups, "shapes", "forward.over_ours")
    heads = (f"{_CONTESTANTS[name]} [ms]" for name in shown)
    head = ("B, T, I, H", "pass", "ours [ms]", *heads, "ours, of sgemm", *_machine_head(groups))
    rows: list[tuple[str, ...]] = []
    for group in groups:
        newest, machine = group.records[-1], _machine_cells(groups, group, named)
        for shape in newest["shapes"]:
            for measure, words in _PASSES.items():
                targets = {
                    name: target
                    for (of, name), (least, target) in _EACH.items()
                    if of == measure and shape["shape"][0] >= least
                }
                taken = _taken(shape[measure]["ms"], shape[measure]["over_ours"], shown, targets)
                rows.append((listed_cells(shape["shape"]), words, *taken, _share(shape, measure), *machine))
        for measure, words in _PASSES.items():
            means = newest["geometric_means"][measure]
            written = (_mean(measure, name, means[name]) if name in means else "-" for name in shown)
            rows.append(("geometric mean", words, "-", *written, "-", *machine))
    return Table(head, tuple(rows))


def _mean(measure: str, name: str, value: float) -> str:
    target = _MEANS.get((measure, name))
    return target.beside(value, times) if target else times(value)


def _machine_head(groups: Sequence[Group]) -> tuple[str, ...]:
    """Head a column only where there is more than one machine; the first table names a single one."""
    return ("machine",) if len(groups) > 1 else ()


def _machine_cells(groups: Sequence[Group], group: Group, named: Callable[[str], str]) -> tuple[str, ...]:
    return (named(group.machine),) if len(groups) > 1 else ()


def _share(shape: Mapping[str, Any], measure: str) -> str:
    rows, _, _, hidden = shape["shape"]
    share = shape[measure]["share_of_sgemm"]
    aimed = measure == "forward_backward" and rows >= _SHARE_ROWS and hidden >= _SHARE_HIDDEN
    return _SHARE.beside(share, _whole_percent) if aimed else _whole_percent(share)


def _tokens(groups: Sequence[Group], named: Callable[[str], str]) -> Table:
    shown = _shown(groups, "one_token", "over_ours")
    heads = (f"{_CONTESTANTS[name]} [us]" for name in shown)
    rows = [
        (
            count(token["width"]),
            *_taken(token["us"], token["over_ours"], shown, _ONE_TOKEN),
            *_machine_cells(groups, group, named),
        )
        for group in groups
        for token in group.records[-1]["one_token"]
    ]
    return Table(("one token, I = H", "ours [us]", *heads, *_machine_head(groups)), tuple(rows))


def _shown(groups: Sequence[Group], part: str, path: str) -> list[str]:
    """Contestants that any record has, in the order of the page."""
    found = {name for group in groups for each in group.records[-1][part] for name in held(each, path)}
    return [name for name in _CONTESTANTS if name in found]


def _taken(
    taken: Mapping[str, float], over_ours: Mapping[str, float], shown: Sequence[str], targets: Mapping[str, Target]
) -> tuple[str, ...]:
    """Times, ours first, each other with how many times as long it is."""

    def ratio(name: str) -> str:
        target = targets.get(name)
        return target.beside(over_ours[name], times) if target else times(over_ours[name])

    others = (f"{_three(taken[name])}, {ratio(name)}" if name in taken else "-" for name in shown)
    return (_three(taken["ours"]), *others)


def train(groups: Sequence[Group], named: Callable[[str], str]) -> list[Table]:
    """A row an arm."""
    head = ("arm", "real tokens/s", "ours is faster", "accuracy on test", "seeds", "trained for it", "threads", *STAMP)
    rows = []
    for group in groups:
        newest = group.records[-1]
        for arm, words in _ARMS.items():
            told = newest["arms"][arm]
            ratio, target = told["ours_is_faster"], _FASTER.get(arm)
            faster = "-" if target is None else target.beside(ratio, times)
            answered = "accuracy" in told
            quality = (percent(told["accuracy"]), listed_cells(newest["seeds"])) if answered else ("-", "-")
            steps = f"{newest['steps']:,} steps" if answered else "-"
            first = (words, count(told["tokens_per_second"]), faster, *quality, steps, number(newest["threads"]))
            rows.append((*first, *group.stamp(named)))
    return [Table(head, tuple(rows))]


def tagging(groups: Sequence[Group], named: Callable[[str], str]) -> list[Table]:
    """A row a set answered; then a row a set and tagger that was trained."""
    head = ("set, answered", *(figure.heading for figure in _ANSWERED), "left out", *STAMP)
    answered, rows = [], []
    for group in groups:
        newest = group.records[-1]
        cells = [cell(group, figure, _ANSWERS if figure is _ANSWERED[0] else None) for figure in _ANSWERED]
        out = [f"{_TAGGERS[name]}: {why}" for name, why in newest["left_out"].items()]
        answered.append((group.item, *cells, listed_cells(out) or "-", *group.stamp(named)))
        for name, words in _TAGGERS.items():
            told = newest["training"]["arms"].get(name)
            if told is None:
                continue
            ratio = "-" if name == "ours" else _FASTER_THAN_FLAIR.beside(told["ours_is_faster"], times)
            versions = listed_cells([f"{of} {version}" for of, version in told["versions"].items()])
            taken = (count(told["tokens_per_second"]), ratio, mb(told["peak_mb"]), number(newest["threads"]), versions)
            rows.append((group.item, words, *taken, *group.stamp(named)))
    names = ("set, trained", "tagger", "tokens/s", "ours is faster", "peak memory", "threads", "versions", *STAMP)
    return [Table(head, tuple(answered)), Table(names, tuple(rows))]


def generate(groups: Sequence[Group], named: Callable[[str], str]) -> list[Table]:
    """A row a kind of token that is trained on; then what is written."""
    rows, written = [], []
    for group in groups:
        newest = group.records[-1]
        for kind, told in newest["training"].items():
            rates = (count(told[f"{name}_tokens_per_second"]) for name in ("ours", "ours_float32", "torch"))
            faster = _FASTER_THAN_TORCH.beside(told["ours_is_faster"], times)
            rows.append((kind, *rates, faster, number(newest["threads"]), *group.stamp(named)))
        cells = [cell(group, figure, target) for figure, target in _WRITING.items()]
        written.append((*cells, *group.stamp(named)))
    measured = ("ours [tokens/s]", "ours in float32 [tokens/s]", "plain torch [tokens/s]")
    head = ("tokens", *measured, "ours is faster", "threads", *STAMP)
    return [Table(head, tuple(rows)), Table((*(figure.heading for figure in _WRITING), *STAMP), tuple(written))]


def trained(groups: Sequence[Group]) -> list[str]:
    """What was trained, a sentence a record."""
    return list(dict.fromkeys(str(group.records[-1]["trained"]) for group in groups))


def _three(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


def _whole_percent(share: float) -> str:
    return f"{100 * share:.0f} %"
