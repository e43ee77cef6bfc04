"""Words as rows of code points, from which nets read their letters."""

from collections.abc import Sequence

import numpy as np

from cellgate.batch import Ids, Ints, Ragged, pad

WORD_START, WORD_END = 1, 2  # code points no text contains as letters: they mark a spelling's ends
LONGEST = 18  # characters of a token that are kept as its spelling


def spell(words: Sequence[str]) -> Ints:
    """Characters of each word [N, 2 + 18] as code points between WORD_START and WORD_END, then 0."""
    letters = np.array(words, dtype=f"<U{LONGEST}").view(np.uint32).reshape(len(words), LONGEST)
    return _marked(letters.astype(np.int64))


def _marked(letters: Ints) -> Ints:
    """Put the end marks around rows of code points [N, 18] that end with zeros."""
    count = len(letters)
    out = np.zeros((count, LONGEST + 2), np.int64)
    out[:, 0] = WORD_START
    out[:, 1:-1] = letters
    out[np.arange(count), 1 + np.count_nonzero(letters, axis=1)] = WORD_END
    return out


def read_spellings(flat: Ids) -> Ints:
    """Rows of `spell` for words given as one run of code points, each ended by 0."""
    ends = np.flatnonzero(flat == 0)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    words = Ragged(flat[flat != 0].astype(np.int32), np.concatenate(([0], np.cumsum(ends - starts))))
    letters = np.zeros((len(ends), LONGEST), np.int64)
    padded = pad(words)
    letters[:, : padded.shape[1]] = padded
    return _marked(letters)
