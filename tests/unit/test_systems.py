"""Systems, ablations, and the stages that labs share: keys alone, nothing is trained."""

import pytest

from cslab.attack_stages import settings_for
from cslab.config import load_profile
from cslab.languages import PAIR_SETS, pairs_named, pool_of
from cslab.stages import open_lab
from cslab.store import CslabError
from cslab.systems import ABLATIONS, asked_in, pairs_of, systems_of, variations

GRID = ["conditions=[Zero-shot, ML-CS, ML-CS Translate-Test, BL-CS, Wiki-CS]", "lexicon.titles={source: atlas-titles}"]
SEEDS = ["training.seeds=[1, 2]", "encoder.extend=[false, true]"]


def lab(*settings: str, tmp_path=None):
    return open_lab("smoke", [*GRID, *settings], outputs=tmp_path)


def test_systems_have_a_folder_each_and_share_rankers():
    found = list(systems_of(load_profile("smoke", [*GRID, *SEEDS])))
    assert len({s.slug for s in found}) == len(found) == 5 * 2 * 2
    assert found[8].slug == "ml-cs-translate-test-s1"
    assert found[8].ranker.slug == "ml-cs-s1"
    assert len({s.ranker for s in found}) == 4 * 2 * 2


def test_unknown_conditions_and_missing_titles_are_refused():
    with pytest.raises(CslabError, match="condition 'ML-SC' is not known; did you mean 'ML-CS'"):
        open_lab("smoke", ["conditions=[ML-SC]"])
    with pytest.raises(CslabError, match=r"Wiki-CS switches titles and there are none; set lexicon\.titles"):
        open_lab("smoke", ["conditions=[Wiki-CS]"])
    with pytest.raises(CslabError, match="ablation 'q' is not known"):
        open_lab("smoke", ["ablations=[q]"])
    with pytest.raises(CslabError, match=r"has nothing to compare; set lexicon\.alternatives"):
        open_lab("smoke", ["ablations=[lexicon]", "lexicon.alternatives={}"])


def test_the_robust_grids_name_methods_that_exist():
    from cslab.training.robust import cost

    for name in ("robust", "robust-full", "robust-open"):
        profile = load_profile(name)
        found = list(systems_of(profile))
        assert len({s.slug for s in found}) == len(found)
        assert len(found) == len(profile.conditions) * len(profile.robust) * len(profile.training.seeds)
        assert all(cost(s.robust) >= 1 for s in found)
        assert profile.training.dev_queries  # a radius is chosen on them
        settings_for(profile, profile.attack)
        assert profile.tests


def test_a_model_depends_on_the_lexicons_it_reads(tmp_path):
    one, other = lab(tmp_path=tmp_path), lab("lexicon.top=2", "lexicon.languages=[de]", tmp_path=tmp_path)
    same = {s.name for s in one.systems() if one._model(s).key == other._model(s).key}
    assert same == {"Zero-shot"}
    titles = lab("lexicon.source=atlas-titles", tmp_path=tmp_path)
    assert {s.name for s in one.systems() if one._model(s).key == titles._model(s).key} == {"Zero-shot", "Wiki-CS"}
    later = lab("training.unswitched_steps=1", tmp_path=tmp_path)
    assert {s.name for s in one.systems() if one._model(s).key == later._model(s).key} == {"Zero-shot"}
    zero, *_ = one.systems()
    assert [r.path.name for r in one._model(zero).inputs] == ["english"]
    bilingual = next(s for s in one.systems() if s.pair)
    assert [r.path.name for r in one._model(bilingual).inputs] == ["english", "de"]


def test_variations_use_what_would_be_the_same(tmp_path):
    whole = lab("probability=0.5", tmp_path=tmp_path)
    zero, multi = (s for s in whole.systems() if s.name in ("Zero-shot", "ML-CS"))
    labs = whole.variations("p")
    assert list(labs) == ["p=0.25", "p=0.5", "p=0.75", "p=1"]
    assert labs["p=0.5"]._runs(multi).path == whole._runs(multi).path
    assert labs["p=0.25"]._model(zero).path == whole._model(zero).path
    assert labs["p=0.25"]._model(multi).path == whole.folder / "variations" / "p=0.25" / "models" / "ml-cs-s1"
    own = whole.variations("first stage")["candidates=own"]
    assert own._model(multi).path == whole._model(multi).path
    assert own._runs(multi).path != whole._runs(multi).path


def test_every_ablation_varies_something():
    profile = load_profile("smoke", ["lexicon.alternatives={names: {source: atlas-titles}}"])
    for name, ablation in ABLATIONS.items():
        found = variations(profile, name)
        assert len(found) > 1, name
        conditions = list(ablation.conditions) or ["Zero-shot", "ML-CS", "Fine-tuning"]
        assert all(varied.conditions == conditions for varied in found.values())
    assert [len(v.lexicon.languages) for v in variations(profile, "languages").values()] == [1, 2]
    assert variations(profile, "place")["lexicon=names"].lexicon.source == "atlas-titles"


def test_a_further_collection_has_the_same_rankers(tmp_path):
    further = "tests={own: {collection: {languages: [en, de], queries: 5}, evaluation: {pairs: [en-de]}}}"
    whole = lab(further, tmp_path=tmp_path)
    other = whole.on("own")
    for system in other.systems():
        assert other._model(system).path == whole._model(system).path
        assert other._runs(system).path.is_relative_to(whole.folder / "tests" / "own")
    assert len(other.recipes()) < len(whole.recipes()) == len({r.path for r in whole.recipes()})
    with pytest.raises(CslabError, match="collection 'ntrx' is not known"):
        whole.on("ntrx")


def test_translate_test_leaves_out_what_it_cannot_read(tmp_path):
    pairs = "evaluation.pairs=[en-en, de-de, en-ar, en-xx, xx2-en, xx-xx]"
    released = "conditions=[Zero-shot Translate-Test, Zero-shot Translate-Test faithful]"
    found = lab(pairs, released, "lexicon.inverse=[de]", tmp_path=tmp_path)
    fixed, faithful = found.systems()
    assert pairs_of(found.profile, fixed) == ["en-en", "de-de", "xx2-en"]
    assert asked_in(found.profile, fixed) == ["de"]
    assert pairs_of(found.profile, faithful) == ["en-en", "de-de"]
    assert [r.path.parent.name for r in found._runs(fixed).inputs] == ["collections", "models", "inverse"]


def test_pairs_of_the_paper_by_name():
    assert len(pairs_named(["paper"])) == 35
    assert pairs_named(["MLIR 6"]) == ["xx6-en", "en-xx6", "xx6-xx6"]
    assert len(PAIR_SETS["paper seen"]) == 18
    for bad in ("papr", "en-de-fr", "en-qq"):
        with pytest.raises(CslabError):
            pairs_named([bad])
    with pytest.raises(CslabError, match="pool 'xx7': expected xx or xx with a size from 2 to 3"):
        pool_of("xx7", ["en", "de", "ar"])


def test_robust_training_is_an_axis(tmp_path):
    found = lab("robust=[none, fgm]", "conditions=[Zero-shot, Zero-shot Translate-Test]", tmp_path=tmp_path)
    names = ["Zero-shot", "Zero-shot+fgm", "Zero-shot Translate-Test", "Zero-shot Translate-Test+fgm"]
    systems = list(found.systems())
    assert [s.name for s in systems] == names
    assert [s.ranker.slug for s in systems] == ["zero-shot-s1", "zero-shot+fgm-s1"] * 2
    assert len({found._model(s).key for s in systems}) == 2
    with pytest.raises(CslabError, match="robust method 'fgn' is not known"):
        lab("robust=[fgn]", tmp_path=tmp_path)


def test_cells_of_the_grid_may_be_chosen(tmp_path):
    some = ["conditions=[Zero-shot, ML-CS]", "robust=[none, fgm, pgd]", "cells={Zero-shot: [none], ML-CS: [none, pgd]}"]
    found = lab(*some, tmp_path=tmp_path)
    assert [s.name for s in found.systems()] == ["Zero-shot", "ML-CS", "ML-CS+pgd"]
    assert [s.name for s in found.variations("p")["p=1"].systems()] == ["ML-CS", "ML-CS+pgd"]
    for cells, message in (
        ("{ML-SC: [none]}", "cells name 'ML-SC', no condition of the profile; did you mean 'ML-CS'"),
        ("{ML-CS: [fgn]}", "robust method 'fgn' is not known"),
        ("{ML-CS: []}", "cells name no method for ML-CS"),
    ):
        with pytest.raises(CslabError, match=message):
            lab(f"cells={cells}", tmp_path=tmp_path)


def test_attacks_are_among_the_stages(tmp_path):
    found = lab("evaluation.pairs=[en-en, en-de]", "pair_conditions=[en-ar]", tmp_path=tmp_path)
    made = {f"{r.path.parent.name}/{r.path.name}" for r in found.recipes() if r.path.parent.name != "lexicons"}
    assert {"attacks/en-en-words-zero-shot-s1", "transfers/en-en-words-zero-shot-s1"} <= made
    assert "attacks/en-en-words-bl-cs-en-ar-s1" not in made
    lone = lab("conditions=[BL-CS]", "evaluation.pairs=[en-de]", "pair_conditions=[en-ar]", tmp_path=tmp_path)
    assert not [r for r in lone.recipes() if r.path.parent.name in ("attacks", "transfers")]
