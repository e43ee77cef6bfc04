"""Steps of Flair's SequenceTagger as `blocks` asks for them. Runs where Flair is, and where Cellgate is not.

python -I flair_steps.py FILE THREADS      FILE: JSON, as `tagging` writes it

A step is what Flair's ModelTrainer does with a batch (trainers/trainer.py, 0.15): zero, loss, backward, clip, step,
and embeddings taken off the sentences again.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

_TAG = "tag"


def main(path: str, threads: int) -> None:
    """Answer until the input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # Flair logs to what is stdout when it is imported
    import flair
    from flair.training_utils import store_embeddings

    torch.set_num_threads(threads)
    flair.device = torch.device("cpu")
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    sizes = given["sizes"]
    sentences = _sentences(given["texts"], given["tags"])
    tagger = _tagger(given, sizes)
    tagger.train()
    optimizer = torch.optim.AdamW(tagger.parameters(), lr=sizes["learning_rate"], weight_decay=sizes["weight_decay"])
    versions = {"flair": flair.__version__, "torch": torch.__version__}
    answers.write(json.dumps({"versions": versions}) + "\n")
    answers.flush()
    for line in sys.stdin:
        batches = [[sentences[row] for row in rows] for rows in json.loads(line)["batches"]]
        began = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad()
            loss, _ = tagger.forward_loss(batch)
            loss.item()
            loss.backward()
            store_embeddings(batch, "none")
            torch.nn.utils.clip_grad_norm_(tagger.parameters(), sizes["clip"])
            optimizer.step()
        seconds = time.perf_counter() - began
        tokens = sum(len(sentence) for batch in batches for sentence in batch)
        answers.write(json.dumps({"seconds": seconds, "tokens": tokens}) + "\n")
        answers.flush()


def _sentences(texts: Sequence[Sequence[str]], tags: Sequence[Sequence[int]]) -> list[Any]:
    from flair.data import Sentence

    sentences = []
    for tokens, of_tokens in zip(texts, tags, strict=True):
        sentence = Sentence(list(tokens))
        for token, tag in zip(sentence.tokens, of_tokens, strict=True):
            token.add_label(_TAG, str(tag))
        sentences.append(sentence)
    return sentences


def _tagger(given: Mapping[str, Any], sizes: Mapping[str, Any]) -> Any:  # noqa: ANN401  a type of Flair's
    """Words and letters learned from nothing, one BiLSTM, a linear chain."""
    from flair.embeddings import CharacterEmbeddings, OneHotEmbeddings, StackedEmbeddings
    from flair.models import SequenceTagger

    letters = sorted({letter for tokens in given["texts"] for token in tokens for letter in token})
    embeddings = [
        OneHotEmbeddings(_dictionary(given["words"], unknown=True), embedding_length=sizes["embedding"]),
        CharacterEmbeddings(
            _dictionary(letters, unknown=True), char_embedding_dim=sizes["letters"], hidden_size_char=sizes["spelling"]
        ),
    ]
    kinds = [str(number) for number in range(1 + max(tag for tags in given["tags"] for tag in tags))]
    return SequenceTagger(
        StackedEmbeddings(embeddings),
        _dictionary(kinds, unknown=False),
        _TAG,
        hidden_size=sizes["hidden"],
        rnn_layers=1,
        use_crf=True,
        reproject_embeddings=False,
        word_dropout=sizes["word_dropout"],
        locked_dropout=sizes["locked_dropout"],
    )


def _dictionary(items: Sequence[str], *, unknown: bool) -> Any:  # noqa: ANN401
    from flair.data import Dictionary

    dictionary = Dictionary(add_unk=unknown)
    for item in items:
        dictionary.add_item(item)
    return dictionary


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
