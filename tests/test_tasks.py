"""One contract for every task, found by discovery: it learns, survives the disk, streams and exports."""

from typing import Any

import numpy as np
import pytest
import torch

from cellgate import task
from cellgate.bundle import Bundle
from cellgate.codecs import TextCodec
from cellgate.language import Language
from cellgate.nets import Net, settle
from cellgate.training import train

SMALL = {"embedding": 24, "hidden": 16, "buckets": 512}
COURSE = {"max_steps": 120, "batch_rows": 8, "dev_fraction": 0.5, "patience": 1000, "epochs": 40, "learning_rate": 0.01}


def _toy(name: str) -> list[dict[str, Any]]:
    found = task.find(name)
    return [row.model_dump() for row in found.toy]


def _sure(name: str) -> dict[str, dict[str, Any]]:
    """A task's settings without what keeps a net from learning by heart."""
    settings = task.find(name).config().model_dump()
    doubts = {"label_smoothing"} | {setting for group in settings.values() for setting in group if "dropout" in setting}
    return {
        name: {key: 0.0 if key in doubts else value for key, value in group.items()} for name, group in settings.items()
    }


@pytest.fixture(scope="module", params=task.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[1, 2], ids=["one way", "both ways"])
def learned(request: pytest.FixtureRequest, name: str, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Trained on its toy rows, which are dev too: memorising is what is asked."""
    config = _sure(name)
    config["train"] |= COURSE
    if task.find(name).running:
        if request.param == 2:
            pytest.skip("a running text is read one way")
        config["train"] |= {"batch_tokens": 128, "batch_rows": 2, "max_steps": 300, "epochs": 300}
        config["writer"] |= {"embedding": 24, "hidden": 64, "layers": 1, "activation_penalty": 0, "change_penalty": 0}
        config["text"] |= {"min_count": 1}
    else:
        config["encoder"] |= {**SMALL, "directions": request.param}
    rows = _toy(name)
    return train(name, rows * 4, dev=rows, folder=tmp_path_factory.mktemp("toy") / name, config=config)


def _net(learned: Bundle) -> Net:
    config = learned.task.config.parse(learned.manifest["config"], "bundle.json")
    return learned.task.net(config, learned.source, learned.target)


def test_memorises_its_toy(learned: Bundle) -> None:
    if learned.task.running:
        assert Language.of(learned).evaluate(learned.task.toy)["perplexity"] < 1.1
        return
    metric = learned.supervised.metrics[0].__name__
    assert learned.evaluate(list(learned.task.toy))[metric] == 1.0


def test_the_graph_equals_the_net(learned: Bundle) -> None:
    """A net built anew from what the Bundle holds, with its weights, gives the graph's answers."""
    from safetensors.torch import load_file

    net = _net(learned)
    if isinstance(learned.source, TextCodec):
        settle(net, torch.from_numpy(learned.source.spellings))
    net.load_state_dict(load_file(learned.folder / "weights.safetensors"))
    net.eval()
    texts = [getattr(row, learned.task.given[0]) for row in learned.task.toy]
    inputs = learned.source.collate(learned.source.encode(texts))
    with torch.no_grad():
        outputs, _ = net({key: torch.from_numpy(value) for key, value in inputs.items()}, {})
    found = learned.scores(texts)
    for of_graph, of_net, length in zip(found.rows, outputs["scores"].numpy(), inputs["lengths"], strict=True):
        of_net = of_net[:length] if "time" in net.outputs["scores"] else of_net
        of_net = of_net[-1] if learned.target.foretells else of_net
        np.testing.assert_allclose(of_graph, of_net, atol=1e-4)
    for name, array in found.shared.items():
        np.testing.assert_allclose(array, outputs[name].numpy(), atol=1e-4)


def test_a_one_way_graph_fed_in_pieces_equals_the_whole(learned: Bundle) -> None:
    """The graph takes and returns its whole state, pooling and n-grams included."""
    if not learned.manifest["graph"]["state"]:
        assert learned.manifest["config"]["encoder"]["directions"] == 2 or not _net(learned).streams
        return
    text = max((getattr(row, learned.task.given[0]) for row in learned.task.toy), key=len)
    inputs = learned.source.collate(learned.source.encode([text]))
    state = learned.graph.initial_state(1)
    for token in range(inputs["tokens"].shape[1]):
        piece = inputs | {"tokens": inputs["tokens"][:, token : token + 1], "lengths": np.array([1])}
        outputs, state = learned.graph.run(piece, state)
    wanted = learned.scores([text]).rows[0]
    scores = outputs["scores"][0]
    np.testing.assert_allclose(scores[-1] if learned.target.foretells else scores, wanted, atol=1e-5)
    assert sum(array.nbytes for array in state.values()) < 20_000


def test_every_given_field_may_be_empty(learned: Bundle) -> None:
    assert 0 <= learned.predict([""])[0].confidence <= 1
