"""When an answer is given: what dev decides of it, and how that is told."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cellgate.batch import Ragged, Scores
from cellgate.codecs import Decision, SupervisedCodec
from cellgate.codecs.decision import abstaining
from cellgate.codecs.target import Judged, Ranked
from cellgate.config import AnswerConfig
from cellgate.errors import DataError, counted, listed, nearest
from cellgate.metrics import Value


def check(target: SupervisedCodec, *, outside_dev_rows: int) -> None:
    """Refuse a label out of scope that nothing can be learned about: DataError."""
    name = target.out_of_scope
    if not name:
        return
    if target.no_scope:
        raise DataError(f"answer.out_of_scope: {target.no_scope}")
    if name not in target.labels and not outside_dev_rows:
        hint = nearest(name, target.labels) or f"; labels: {listed(target.labels)}"
        raise DataError(f"answer.out_of_scope: no row has the label {name!r}{hint}")


def decide(
    config: AnswerConfig,
    target: SupervisedCodec,
    scores: Scores,
    columns: Mapping[str, Ragged],
    truth: Sequence[Value],
) -> tuple[Decision, list[str]]:
    """Choose by dev rows when an answer is given; and say what that does."""
    chosen = target.decide(scores, truth)
    ranked = target.decode(scores, columns, chosen, top=1)
    told = [_scope(chosen, ranked, truth)] if target.out_of_scope else []
    if config.precision is None and not config.abstain_below:
        return chosen, told
    judged = target.judge(truth, [each.value for each in ranked], [each.confidence for each in ranked])
    if not len(judged.right):
        return chosen, [*told, "no answer is given on dev, so no threshold can be chosen"]
    decision, words = _abstain(config, chosen, judged, target.part)
    return decision, [*told, words]


def _abstain(config: AnswerConfig, chosen: Decision, judged: Judged, part: str) -> tuple[Decision, str]:
    if config.precision is None:
        kept = judged.right[judged.confidence >= config.abstain_below]
        how = f"{kept.mean():.1%} of the answers given are right" if len(kept) else f"no {part} gets an answer"
        share = len(kept) / len(judged.right)
        return (
            replace(chosen, abstain_below=config.abstain_below),
            f"on dev {how}, and {share:.1%} of the {part}s get one (--answer.abstain-below)",
        )
    found = abstaining(judged.confidence, judged.right, config.precision)
    met = "" if found.precision >= config.precision else f"; {config.precision:.1%} is out of reach"
    return replace(chosen, abstain_below=found.below), (
        f'answers below {found.below:.3f} become "I don\'t know": on dev {found.precision:.1%} of the answers given '
        f"are right, and {found.answered:.1%} of the {part}s get one{met}"
    )


def _scope(decision: Decision, ranked: Sequence[Ranked], truth: Sequence[Value]) -> str:
    """Say how well texts out of scope are told apart on dev, and what it costs the others."""
    name = decision.out_of_scope
    outside = [each.value == name for each, label in zip(ranked, truth, strict=True) if label == name]
    inside = [each.value == label for each, label in zip(ranked, truth, strict=True) if label != name]
    if not outside:
        return f"no dev row is {name!r}: it is the answer from a probability of {decision.scope_ends:g} on (give some)"
    rows = counted(len(outside), "row is", "rows are")
    return (
        f"{name!r} from a probability of {decision.scope_ends:.3f} on: on dev {sum(outside) / len(outside):.1%} of its "
        f"{rows} found, and {sum(inside) / max(1, len(inside)):.1%} of the others answered right"
    )
