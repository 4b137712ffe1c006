"""The stages of an experiment, each made once: collections, lexicons, encoders, pairs, models, runs, scores.

A `Lab` is a profile and its folder `outputs/<profile>/`. A method that returns a record makes its stage if it is
missing or stale, with what it needs before it; the command line and the notebooks call the same methods.

    lab = open_lab("demo")
    lab.scores()          # trains, re-ranks and scores whatever is not there yet
    lab.status()          # what is done, stale or to do
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cslab.attack_stages import attack_recipes
from cslab.collections.collection import Collection, load_collection, with_texts
from cslab.collections.trec import Run, read_run, write_run
from cslab.config import Profile, load_profile, outputs_folder
from cslab.evaluation.measures import by_setting, deviations, parse_measure, read_scores, write_scores
from cslab.evaluation.settings import Task, make_task
from cslab.findings import cost_text
from cslab.jobs import make_all
from cslab.languages import pair as split_pair
from cslab.lexicon.lexicon import Lexicon, read_lexicon
from cslab.makers import (
    extend_encoder,
    keep_collection,
    keep_lexicon,
    labelled,
    rerank_system,
    score_systems,
)
from cslab.model_stages import beginning_recipe, model_recipe, taught_recipe
from cslab.recipe import Recipe, file_hashes, once, states
from cslab.row_stages import fused_recipe, untouched_recipe, weight_recipe
from cslab.sources import (
    collection_files,
    lexicon_files,
    read_pairs,
    read_runs,
    read_test,
    read_training,
    training_files,
)
from cslab.sources import read_lexicon as read_source
from cslab.sources.collections import read_unjudged, run_files, unjudged_files
from cslab.store import CslabError, Stage, nearest, read_jsonl
from cslab.systems import (
    INVERSE,
    TITLES,
    WORDS,
    Fused,
    Row,
    System,
    Untouched,
    asked_in,
    pairs_of,
    rows_of,
    systems_of,
    variations,
)
from cslab.vocabulary_stages import needed_recipe

if TYPE_CHECKING:
    from cslab.training.pairs import Pairs

# What the stages depend on whose functions do more than make them: they say what mMARCO costs, or open other labs.
TEST = ("sources.read_test", "sources.read_runs", "makers.keep_collection", "collections.trec.write_run")
TRAINING = ("sources.read_training", "makers.keep_collection")
ABLATION = ("makers.labelled", "evaluation.measures.by_setting", "evaluation.measures.write_scores")


def open_lab(profile: str | Profile = "demo", settings: Sequence[str] = (), outputs: str | Path | None = None) -> "Lab":
    """Opens the experiment of a profile: its name, the path of its YAML file, or the profile itself.

    Raises:
        CslabError: for an unknown profile, key, value, condition, measure or ablation.
    """
    found = profile if isinstance(profile, Profile) else load_profile(profile, settings)
    for _ in rows_of(found, systems_of(found)):
        pass
    for name in found.ablations:
        variations(found, name)
    for measure in [m for part in (found, *found.tests.values()) for m in part.evaluation.measures]:
        parse_measure(measure)
    return Lab(found, Path(outputs or outputs_folder()) / found.name)


@dataclass(frozen=True)
class Lab:
    """A profile, its folder, and the stages in it.

    A lab may vary another (`base`): the same experiment with another lexicon, say, or on another collection. It trains
    on the same pairs, uses the stages of its base that would be the same, and keeps its own in a folder of its own.
    """

    profile: Profile
    folder: Path
    base: "Lab | None" = None
    _tasks: dict[str, Task] = field(default_factory=dict, repr=False)
    _recipes: dict[tuple, Recipe] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple:
        # What has been worked out is left behind when it goes to another process.
        return Lab, (self.profile, self.folder, self.base)

    def varied(self, profile: Profile, name: str) -> "Lab":
        """The lab of a variation of the profile."""
        return Lab(profile, self.folder / "variations" / name.replace(" ", "-"), self)

    def on(self, test: str) -> "Lab":
        """The same rankers on a further collection of the profile; refuses one that it has not."""
        if test not in self.profile.tests:
            known = nearest(test, list(self.profile.tests)) if self.profile.tests else "it has no further ones"
            raise CslabError(f"profile {self.profile.name}: collection '{test}' is not known; {known}")
        update = dict(self.profile.tests[test]) | {"tests": {}, "ablations": []}
        return Lab(self.profile.model_copy(update=update), self.folder / "tests" / test, self)

    def _stage(self, made: Recipe, of_base: Callable[["Lab"], Recipe]) -> Recipe:
        """A stage, or that of the base where it would be the same."""
        if self.base is None:
            return made
        other = of_base(self.base)
        return other if other.key == made.key else made

    # --- collections -----------------------------------------------------------------------------------------

    @cached_property
    def _test(self) -> Recipe:
        settings, protocol = self.profile.collection, self.profile.evaluation.protocol

        def build(folder: Path) -> dict[str, Any]:
            if cost := cost_text(self.profile):
                print(cost, flush=True)
            found = read_test(settings)
            for code, run in read_runs(settings, protocol, found).items():
                write_run(run, folder / "runs" / f"{code}.trec.gz")
            return keep_collection(found, folder)

        config = {"settings": settings, "files": file_hashes(collection_files(settings))}
        # Only published candidates depend on the protocol, and only these sources have any.
        config |= {"protocol": protocol} if settings.source == "mmarco" else {}
        made = Recipe(self.folder / "collections" / "test", config, build, roots=TEST)
        return self._stage(made, lambda base: base._test)

    @cached_property
    def _training(self) -> Recipe:
        if self.base is not None:
            return self.base._training

        def build(folder: Path) -> dict[str, Any]:
            if (cost := cost_text(self.profile)) and self._test.state() != "done":
                print(cost, flush=True)
            return keep_collection(read_training(self.profile), folder)

        training = self.profile.training
        config = {"folders": training.folders, "passages": training.passages, "queries": training.queries}
        config |= {"source": self.profile.collection.source, "languages": self.profile.collection.languages}
        config |= {"files": file_hashes(training_files(self.profile))}
        return Recipe(self.folder / "collections" / "training", config, build, roots=TRAINING)

    @cached_property
    def _unlabelled(self) -> Recipe:
        if self.base is not None:
            return self.base._unlabelled

        def build(folder: Path) -> dict[str, Any]:
            return keep_collection(read_unjudged(self.profile), folder)

        training = self.profile.training
        config = {"folders": training.unlabelled, "queries": training.queries, "seed": self.profile.collection.seed}
        config |= {"files": file_hashes(unjudged_files(self.profile))}
        return Recipe(self.folder / "collections" / "unlabelled", config, build)

    def collection(self) -> Collection:
        """The collection that systems are evaluated on."""
        return load_collection(self._test.make().path / "data")

    def training_collection(self, taught: bool = False) -> Collection:
        """The collection that systems are trained on; no query or document of it is in the one for evaluation.

        With `taught` what a teacher labels beside it comes to it.
        """
        found = load_collection(self._training.make().path / "data")
        further = taught and self.profile.training.unlabelled
        return with_texts(found, load_collection(self._unlabelled.make().path / "data")) if further else found

    # --- lexicons --------------------------------------------------------------------------------------------

    @once
    def _lexicon(self, code: str, kind: str = WORDS) -> Recipe:
        whole = self.profile.lexicon
        settings = whole.titles if kind == TITLES else whole
        if settings is None:
            raise CslabError(f"profile {self.profile.name}: it has no titles to switch into; set lexicon.titles")

        def build(folder: Path) -> dict[str, Any]:
            return keep_lexicon(read_source(settings, code), whole, kind == INVERSE, folder)

        chosen = settings.model_dump(exclude={"languages", "titles", "alternatives", "inverse"})
        config = {"kind": kind, "settings": chosen, "top": whole.top, "drop": whole.drop_identities, "language": code}
        config["files"] = file_hashes(lexicon_files(settings, code))
        place = self.folder / {WORDS: "lexicons"}.get(kind, kind) / code
        made = Recipe(place, config, build)
        return self._stage(made, lambda base: base._lexicon(code, kind))

    def _lexicons(self, kind: str = WORDS, codes: Sequence[str] | None = None) -> tuple[Recipe, ...]:
        return tuple(self._lexicon(code, kind) for code in (self.profile.lexicon.languages if codes is None else codes))

    def lexicons(self, kind: str = WORDS, codes: Sequence[str] | None = None) -> dict[str, Lexicon]:
        """Lexicons by language: English into each of the profile's, of `words` or `titles`, or the `inverse`."""
        found = {recipe.path.name: recipe.make().path for recipe in self._lexicons(kind, codes)}
        return {code: read_lexicon(path / "lexicon.tsv.gz") for code, path in found.items()}

    def _lexicons_of(self, system: System) -> dict[str, Any]:
        """Kind and languages of the lexicons that switch a ranker's training text."""
        condition = system.ranker.condition
        codes = [code for code in split_pair(system.pair) if code != "en"] if system.pair else None
        return {"kind": condition.lexicon, "codes": codes and list(dict.fromkeys(codes))}

    # --- encoders and models ---------------------------------------------------------------------------------

    def systems(self) -> Iterator[System]:
        """Every system of the profile, in the order of its conditions; of those for one pair, the pairs asked for."""
        pairs = self.profile.evaluation.pairs
        return (s for s in systems_of(self.profile) if not s.pair or self.base is None or s.pair in pairs)

    def rows(self) -> list[Row]:
        """Every row of the tables below the first stage: systems, encoders as they are, and what is fused with it."""
        return list(rows_of(self.profile, self.systems()))

    @cached_property
    def _extended(self) -> Recipe:
        encoder = self.profile.encoder

        def build(folder: Path) -> dict[str, Any]:
            return extend_encoder(self, folder)

        config = {"encoder": encoder.name, "words": encoder.words}
        place = self.folder / "encoders" / "extended"
        return self._stage(Recipe(place, config, build, self._lexicons()), lambda base: base._extended)

    @cached_property
    def _needed(self) -> Recipe:
        return needed_recipe(self) if self.base is None else self.base._needed

    def _encoders(self, extended: bool) -> tuple[Recipe, ...]:
        """The stage that the encoder is made in; none for the profile's encoder as it is."""
        return (self._extended,) if extended else (self._needed,) if self.profile.encoder.vocabulary == "needed" else ()

    def encoder_source(self, extended: bool) -> str:
        """What `load_encoder` takes: the profile's encoder, or the folder of its extended or smaller form."""
        made = [str(recipe.make().path / "encoder") for recipe in self._encoders(extended)]
        return made[0] if made else self.profile.encoder.name

    @cached_property
    def _pairs(self) -> Recipe:
        if self.base is not None:
            return self.base._pairs
        training = self.profile.training

        def build(folder: Path) -> dict[str, Any]:
            from cslab.training.pairs import save_pairs

            pairs = read_pairs(self.profile, self.training_collection())
            save_pairs(pairs, folder / "data")
            return {"pairs": len(pairs), "queries": len(set(pairs.qids))}

        config = training.model_dump(include={"negatives", "dev_queries", "negatives_from"})
        config |= {"seed": training.seeds[0], "teacher": training.teacher_of_negatives}
        config |= {"runs": file_hashes(run_files(self.profile))}
        config |= {"wanted": training.steps * training.batch} if training.folders == ["mmarco"] else {}
        return Recipe(self.folder / "pairs" / "english", config, build, (self._training,))

    @cached_property
    def _taught(self) -> Recipe:
        return taught_recipe(self) if self.base is None else self.base._taught

    @once
    def _model(self, system: System) -> Recipe:
        return self._stage(model_recipe(self, system), lambda base: base._model(system))

    @once
    def _beginning(self, system: System) -> Recipe:
        return self._stage(beginning_recipe(self, system), lambda base: base._beginning(system))

    def texts(self, system: System) -> Callable[[int, Sequence[int]], list[tuple[str, str]]]:
        """What a ranker reads: a function of (epoch, indices of pairs) that gives (query, document) texts."""
        from cslab.training.conditions import pair_texts

        pair, profile = split_pair(system.pair) if system.pair else None, self.profile
        switched = system.ranker.condition.policy is not None
        lexicons = self.lexicons(**self._lexicons_of(system)) if switched else {}
        taught = system.ranker.condition.taught
        given = (self.pairs(taught), self.training_collection(taught), lexicons, system.seed, pair)
        return pair_texts(system.condition, *given, profile.probability, profile.words, self._directions)

    @property
    def _directions(self) -> list[tuple[str, str]]:
        """The language pairs that Fine-tuning learns: those that are evaluated."""
        return [split_pair(pair) for pair in (self.base or self).profile.evaluation.pairs]

    def pairs(self, taught: bool = False) -> "Pairs":
        """The training pairs, the same for every ranker, with judgements or a teacher's scores as labels."""
        from cslab.training.pairs import load_pairs

        return load_pairs((self._taught if taught else self._pairs).make().path / "data")

    def log(self, system: System) -> list[dict[str, Any]]:
        """The rows of a ranker's training log."""
        return [row for _, row in read_jsonl(self.train(system).path / "log.jsonl")]

    def train(self, system: System) -> Stage:
        """Trains a system's ranker; the model lies in `<stage>/model`, the log in `<stage>/log.jsonl`."""
        return self._model(system).make()

    def train_all(self, systems: Sequence[System] | None = None) -> dict[str, Stage]:
        """Trains the rankers of systems (default: all), as many at a time as the profile's `jobs`; by slug."""
        systems = list(self.systems()) if systems is None else systems
        make_all([(self, system) for system in systems], "train", self.profile.jobs)
        return {system.slug: self.train(system) for system in systems}

    # --- tasks, runs, scores ---------------------------------------------------------------------------------

    def task(self, pair: str) -> Task:
        """The task of a language pair such as `en-de` or `xx-xx`."""
        if pair not in self._tasks:
            chosen = self.profile.evaluation
            query, document = split_pair(pair)
            seed, given = self.profile.collection.seed, self._given
            made = make_task(self.collection(), query, document, chosen.protocol, chosen.depth, seed, self.pool, given)
            self._tasks[pair] = made
        return self._tasks[pair]

    def tasks(self, row: Row) -> dict[str, Task]:
        """The tasks of the pairs that a row is scored on."""
        return {pair: self.task(pair) for pair in pairs_of(self.profile, row)}

    @cached_property
    def _given(self) -> dict[str, Run]:
        files = sorted((self._test.make().path / "runs").glob("*.trec.gz"))
        return {file.name.removesuffix(".trec.gz"): read_run(file) for file in files}

    @cached_property
    def pool(self) -> list[str]:
        """The languages that MLIR draws from: those of the profile that have queries and documents."""
        held = self.collection()
        return [c for c in self.profile.collection.languages if c in held.queries and c in held.documents]

    @once
    def _runs(self, row: Row) -> Recipe:
        kinds = {System: Lab._system_runs, Untouched: untouched_recipe, Fused: fused_recipe}
        made = kinds[type(row)](self, row)
        return self._stage(made, lambda base: base._runs(row))

    @once
    def _weight(self, row: System | Untouched) -> Recipe:
        return self._stage(weight_recipe(self, row), lambda base: base._weight(row))

    def _system_runs(self, system: System) -> Recipe:
        def build(folder: Path) -> dict[str, Any]:
            return rerank_system(self, system, folder)

        evaluation = self.profile.evaluation
        config = {"pairs": pairs_of(self.profile, system), "protocol": evaluation.protocol, "depth": evaluation.depth}
        config |= {"max_length": evaluation.max_length, "precision": self.profile.training.precision}
        config |= {"test text": system.condition.test_text}
        inputs = [self._test, self._model(system)]
        if system.condition.test_text != "as is":
            inputs += self._lexicons(INVERSE, asked_in(self.profile, system))
        return Recipe(self.folder / "runs" / system.slug, config, build, tuple(inputs), shared=True)

    def runs(self, row: Row) -> dict[str, Run]:
        """Re-ranked runs by language pair."""
        make_all([(self, row)], "runs", jobs=1)
        path = self._runs(row).make().path
        return {pair: read_run(path / f"{pair}.trec.gz") for pair in pairs_of(self.profile, row)}

    @cached_property
    def _scores(self) -> Recipe:
        measures = self.profile.evaluation.measures

        def build(folder: Path) -> dict[str, Any]:
            scores = pd.concat(score_systems(self), ignore_index=True)
            write_scores(scores, folder / "scores.parquet")
            table, spread = by_setting(scores, measures[0]), deviations(scores, measures[0])
            reach = {pair: round(self.task(pair).reachable(), 4) for pair in self.profile.evaluation.pairs}
            found = {"measure": measures[0], "table": table.round(1).to_dict("index"), "reachable": reach}
            seeds = len(self.profile.training.seeds)
            return found | {"seeds": seeds, **({"spread": spread.round(1).to_dict("index")} if seeds > 1 else {})}

        inputs = tuple(self._runs(row) for row in self.rows())
        return Recipe(self.folder / "scores" / "all", {"measures": measures}, build, inputs)

    def scores(self) -> pd.DataFrame:
        """The tidy table of every system, seed, pair, query and measure."""
        # What is fused needs no model: it is made of the runs of others afterwards.
        ranked = [(self, row) for row in self.rows() if not isinstance(row, Fused)]
        make_all(ranked, "runs", self.profile.jobs)
        return read_scores(self._scores.make().path / "scores.parquet")

    # --- ablations -------------------------------------------------------------------------------------------

    def variations(self, ablation: str) -> dict[str, "Lab"]:
        """The labs that an ablation compares, by label."""
        return {label: self.varied(profile, label) for label, profile in variations(self.profile, ablation).items()}

    def _ablation(self, name: str) -> Recipe:
        labs = self.variations(name)

        def build(folder: Path) -> dict[str, Any]:
            scores = pd.concat(labelled(self, labs), ignore_index=True)
            write_scores(scores, folder / "scores.parquet")
            measure = self.profile.evaluation.measures[0]
            return {"measure": measure, "table": by_setting(scores, measure).round(1).to_dict("index")}

        inputs = tuple(lab._runs(system) for lab in labs.values() for system in lab.systems())
        config = {"measures": self.profile.evaluation.measures, "labels": list(labs)}
        place = self.folder / "scores" / f"ablation-{name.replace(' ', '-')}"
        return Recipe(place, config, build, inputs, roots=ABLATION)

    def ablation(self, name: str) -> pd.DataFrame:
        """The scores of an ablation; a system's name is followed by the label of its variation (`ML-CS p=0.25`)."""
        labs = self.variations(name).values()
        make_all([(lab, system) for lab in labs for system in lab.systems()], "runs", self.profile.jobs)
        return read_scores(self._ablation(name).make().path / "scores.parquet")

    # --- what is there ---------------------------------------------------------------------------------------

    def recipes(self) -> list[Recipe]:
        """Every stage of the profile, in order, each once."""
        systems = list(self.systems())
        found = [self._test, self._training, self._pairs]
        for recipe in (*map(self._model, systems), *map(self._runs, self.rows())):
            found += [*recipe.inputs, recipe]
        found += [self._scores, *(attack_recipes(self) if self.base is None else ())]
        for test in self.profile.tests:
            found += self.on(test).recipes()
        for name in self.profile.ablations:
            for lab in self.variations(name).values():
                found += lab.recipes()[:-1]  # the scores of variations stand in one table
            found.append(self._ablation(name))
        return list({recipe.path: recipe for recipe in found}.values())

    def status(self) -> pd.DataFrame:
        """Stage, name, state (`done`, `stale`, `partial`, `to do`) and the seconds it took."""
        return states(self.recipes(), self.folder)
