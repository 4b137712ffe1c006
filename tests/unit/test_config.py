"""python -m pytest tests/unit/test_config.py"""

from typing import get_args

import pytest

from cslab.choices import TeacherSettings
from cslab.config import Profile, TrainingSettings, load_profile, make_profile, profiles_folder
from cslab.store import CslabError
from cslab.training.losses import ANY, LOSSES
from cslab.training.settings import SCHEDULES


@pytest.mark.parametrize("name", [path.stem for path in sorted(profiles_folder().glob("*.yaml"))])
def test_every_shipped_profile_is_valid(name):
    assert load_profile(name).name == name


def test_settings_override_the_file():
    profile = load_profile("demo", ["training.steps=7", "conditions=[ML-CS]", "encoder.name=minilm"])
    assert (profile.training.steps, profile.conditions, profile.encoder.name) == (7, ["ML-CS"], "minilm")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.step=4"], "unknown key 'training.step'; did you mean 'steps'"),
        (["trainin.steps=4"], "unknown key 'trainin'; did you mean 'training'"),
        (["training.steps=many"], "training.steps = 'many'"),
        (["training.steps=0"], "training.steps = 0"),
        (["training.loss=lse"], "training.loss = 'lse': input should be 'bce', 'hinge'"),
        (["training.schedule=cos"], "training.schedule = 'cos'"),
        (["training.accumulate=0"], "training.accumulate = 0"),
        (["training.teacher={models: [a], margin: -1}"], "training.teacher.margin = -1"),
        (["collection.languages=[en, xq]"], "language 'xq' is not known"),
        (["evaluation.pairs=[en-qq]"], "language 'qq' is not known"),
        (["training.steps"], "expected key=value"),
        (["name.first=x"], "'name' is a single value"),
        (["encoder.name=[a"], "not a YAML value"),
    ],
)
def test_a_bad_setting_is_one_clear_error(settings, message):
    with pytest.raises(CslabError, match=message.replace("[", r"\[")) as caught:
        load_profile("demo", settings)
    assert "\n" not in str(caught.value)


def test_unknown_profile_and_broken_yaml_are_named(tmp_path):
    with pytest.raises(CslabError, match="did you mean 'demo'"):
        load_profile("dmo")
    broken = tmp_path / "p.yaml"
    broken.write_text("training:\n  steps: [1\n")
    with pytest.raises(CslabError, match=r"p.yaml:2: not YAML"):
        load_profile(str(broken))
    broken.write_text("- a\n")
    with pytest.raises(CslabError, match=r"p.yaml:1: a profile is a mapping"):
        load_profile(str(broken))


def test_a_profile_needs_only_a_name():
    assert make_profile({"name": "own"}) == Profile(name="own")


def test_a_base_may_have_a_base_but_not_itself(tmp_path):
    (tmp_path / "a.yaml").write_text("base: atlas\nprobability: 0.3\n")
    (tmp_path / "b.yaml").write_text(f"base: {tmp_path / 'a.yaml'}\ntraining: {{steps: 7}}\n")
    found = load_profile(str(tmp_path / "b.yaml"))
    assert (found.name, found.probability, found.training.steps, found.training.batch) == ("b", 0.3, 7, 64)
    (tmp_path / "a.yaml").write_text(f"base: {tmp_path / 'b.yaml'}\n")
    with pytest.raises(CslabError, match="goes out from this profile itself"):
        load_profile(str(tmp_path / "b.yaml"))


def test_losses_and_schedules_of_profiles_are_those_of_training():
    fields = TrainingSettings.model_fields
    losses = get_args(fields["loss"].annotation), get_args(TeacherSettings.model_fields["loss"].annotation)
    assert {*losses[0], *losses[1]} == set(LOSSES)
    assert set(losses[1]) == {name for name, loss in LOSSES.items() if loss.labels == ANY}
    assert set(get_args(fields["schedule"].annotation)) == set(SCHEDULES)
