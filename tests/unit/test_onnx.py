"""Cross-encoders as ONNX files."""

import numpy as np
import pytest

from cslab.ranking.cross_encoder import score_pairs
from cslab.ranking.onnx import export_onnx
from cslab.ranking.pair_tokens import pair_tokens
from cslab.store import CslabError
from tests.tiny import WORDS, tiny_encoder


def test_an_exported_encoder_scores_alike(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    encoder = tiny_encoder(tmp_path / "tiny")
    file = export_onnx(encoder, tmp_path / "model")
    assert file == tmp_path / "model" / "onnx" / "model.onnx"
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    session = runtime.InferenceSession(str(file))
    pairs = [(WORDS[i], " ".join(WORDS[: 1 + i])) for i in range(7)]
    tokens = pair_tokens(encoder.tokenizer, pairs, encoder.max_length)
    for rows in ([0, 1, 2, 3, 4, 5, 6], [6, 2], [3]):
        inputs = {name: tensor.numpy() for name, tensor in tokens.batch(rows).items()}
        (logits,) = session.run(["logits"], inputs)
        assert logits.shape == (len(rows), 1)
        expected = score_pairs(encoder, [pairs[row] for row in rows], precision="fp32")
        np.testing.assert_allclose(logits[:, 0], expected, rtol=0, atol=1e-5)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("cslab.ranking.onnx.NEEDED", ("onnx_that_is_not_there",))
    with pytest.raises(CslabError, match=r"needs onnx_that_is_not_there; run pip install onnx_that_is_not_there"):
        export_onnx(tiny_encoder(tmp_path), tmp_path / "model")
    assert not (tmp_path / "model").exists()
