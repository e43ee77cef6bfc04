"""Steps of `cellgate train tag` as `blocks` asks for them; these are the very steps that `fit` takes.

Of the recurrent half alone: Flair's tagger has no other.

python -m cellgate.bench.tag_steps FOLDER THREADS      FOLDER: what `fit.prepare` left there
"""

import json
import sys
from itertools import islice
from pathlib import Path

import torch

from cellgate.fit.events import Step
from cellgate.fit.feed import Verdict
from cellgate.fit.loop import fit
from cellgate.fit.prepare import load_prepared
from cellgate.fit.rows import RowFeed
from cellgate.task import find


def main(folder: Path, threads: int) -> None:
    """Answer until the input ends."""
    task, prepared = find("tag"), load_prepared(folder)
    source, target = prepared.source, prepared.target
    config = task.config.parse({"train": {"threads": threads}, "linear": {"enabled": False}}, "the benchmark")
    torch.manual_seed(config.train.seed)
    net = task.net(config, source, target)
    lengths = prepared.rows.columns["tokens"].lengths
    data = RowFeed(prepared.rows, prepared.train, lengths, source.collate, target.collate, by_token=True)
    # What follows an epoch is no part of a step: nothing is judged there.
    events = fit(net, data, config.train, lambda: Verdict({}, 0.0, 0.0), folder / "checkpoint.safetensors")
    steps = (event for event in events if isinstance(event, Step))
    _say({"versions": {"torch": torch.__version__}})
    for line in sys.stdin:
        taken = list(islice(steps, len(json.loads(line)["batches"])))
        _say({"seconds": sum(step.seconds for step in taken), "tokens": sum(step.tokens for step in taken)})


def _say(told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
