"""Rankers made side by side are those made one after the other; what goes wrong in a process is told once."""

import os
import pickle

import pytest
import torch
from safetensors.torch import load_file

from cslab.jobs import make_all
from cslab.pool import Queued, aloud, pool
from cslab.robustness import attacks
from cslab.stages import open_lab
from cslab.store import CslabError

SMALL = ["conditions=[Zero-shot, ML-CS]", "training.steps=2", "evaluation.pairs=[en-de]", "evaluation.depth=3"]


def lab(tmp_path, name, *settings):
    return open_lab("smoke", [*SMALL, *settings], outputs=tmp_path / name)


def test_rankers_made_side_by_side_are_the_same(tmp_path, capsys, one_thread):
    begun = ("training.steps=3", "training.clean_steps=1", "untouched=[{dual_encoder: atlas}]")
    alone, both = lab(tmp_path, "alone", *begun), lab(tmp_path, "both", *begun, "jobs=2")
    scores = both.scores()
    told = capsys.readouterr().out
    assert "zero-shot-s1 |   made beginnings/zero-shot-s1" in told
    assert "ml-cs-s1 |   made runs/ml-cs-s1" in told
    assert alone.scores().equals(scores)
    for slug, stage in alone.train_all().items():
        one, two = (
            load_file(path / "model" / "model.safetensors") for path in (stage.path, both.train_all()[slug].path)
        )
        assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    found = attacks(both)
    told = capsys.readouterr().out
    assert "zero-shot-s1 |   made attacks/en-de-words-zero-shot-s1" in told
    assert "ml-cs-s1 |   made transfers/en-de-words-ml-cs-s1" in told
    assert attacks(alone).scores.equals(found.scores)
    assert set(both.status().query("stage == 'transfers'")["state"]) == {"done"}


def test_robust_methods_share_their_beginning(tmp_path, capsys):
    settings = ("robust=[none, fgm, worst-of-k(k=2)]", "training.steps=3", "training.clean_steps=1")
    shared = lab(tmp_path, "shared", *settings)
    assert len(shared.train_all()) == 6
    told = capsys.readouterr().out
    assert [told.count(f"made beginnings/{slug}-s1 ") for slug in ("zero-shot", "ml-cs")] == [1, 1]
    assert told.count("from step 1 of 3") == 6
    assert set(shared.status().query("stage == 'beginnings'")["state"]) == {"done"}
    own = lab(tmp_path, "own", *settings, "training.budget=compute")
    assert not [recipe for recipe in own.recipes() if recipe.path.parent.name == "beginnings"]


def test_a_mistake_in_a_process_is_one_clear_error(tmp_path):
    found = lab(tmp_path, "wrong", "jobs=2", f"encoder.name={tmp_path / 'nowhere'}")
    with pytest.raises(CslabError, match="nowhere"):
        make_all([(found, system) for system in found.systems()], "train", 2)


def test_a_lab_goes_to_another_process_without_what_it_has_worked_out(tmp_path):
    found = lab(tmp_path, "sent").varied(lab(tmp_path, "other").profile, "p=1")
    list(found.systems())
    assert found.base.recipes()
    again = pickle.loads(pickle.dumps(found))
    assert (again.profile, again.folder, again.base.folder) == (found.profile, found.folder, found.base.folder)
    assert not again.base._recipes


def _variable() -> str:
    print("half a", end=" ")
    print("line\nand another")
    return os.environ["OMP_NUM_THREADS"]


def test_lines_of_a_process_are_whole_and_marked(capsys):
    import sys

    with pool(1, sys.stdout, [{"OMP_NUM_THREADS": "3"}]) as run:
        assert run.submit(aloud, "x | ", _variable).result() == "3"
    assert capsys.readouterr().out == "x | half a line\nx | and another\n"
    assert Queued().write("no line end, so nobody is told") == 30
