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

from cslab.collections.collection import Collection, load_collection, save_collection
from cslab.collections.trec import Run, read_run, write_run
from cslab.config import Profile, load_profile, outputs_folder
from cslab.evaluation.measures import by_setting, read_scores, score_run, write_scores
from cslab.evaluation.settings import Task, make_task
from cslab.languages import pair as split_pair
from cslab.languages import setting
from cslab.lexicon.lexicon import Lexicon, read_lexicon, write_lexicon
from cslab.processes import processes
from cslab.recipe import Recipe
from cslab.sources import read_lexicon_source, read_test, read_training, source_files
from cslab.store import (
    CslabError,
    Stage,
    nearest,
    read_jsonl,
    sha256_file,
)
from cslab.training.conditions import CONDITIONS, Condition

if TYPE_CHECKING:
    from cslab.training.pairs import Pairs

FIRST_STAGE = "BM25"


@dataclass(frozen=True)
class System:
    """One ranker: a condition, the encoder with or without extended vocabulary, the pair it is for, a seed."""

    condition: Condition
    extended: bool
    pair: str | None
    seed: int

    @property
    def name(self) -> str:
        """Name in tables; seeds and pairs of one condition share it."""
        return self.condition.name + ("+vocab" if self.extended else "")

    @property
    def slug(self) -> str:
        """Name of its folders."""
        return "-".join(filter(None, (self.name.lower(), self.pair, f"s{self.seed}")))


def open_lab(profile: str | Profile = "demo", settings: Sequence[str] = (), outputs: str | Path | None = None) -> "Lab":
    """Opens the experiment of a profile: its name, the path of its YAML file, or the profile itself.

    Raises:
        CslabError: for an unknown profile, key, value or condition.
    """
    found = profile if isinstance(profile, Profile) else load_profile(profile, settings)
    for name in found.conditions:
        if name not in CONDITIONS:
            raise CslabError(
                f"profile {found.name}: condition '{name}' is not known; {nearest(name, list(CONDITIONS))}"
            )
    return Lab(found, Path(outputs or outputs_folder()) / found.name)


@dataclass(frozen=True)
class Lab:
    """A profile, its folder, and the stages in it."""

    profile: Profile
    folder: Path
    _tasks: dict[str, Task] = field(default_factory=dict, repr=False)

    # --- collections -----------------------------------------------------------------------------------------

    @cached_property
    def _test(self) -> Recipe:
        def build(folder: Path) -> dict[str, Any]:
            return _keep_collection(read_test(self.profile), folder)

        config = {"settings": self.profile.collection, "files": _hashes(source_files(self.profile, "test"))}
        return Recipe(self.folder / "collections" / "test", config, build, rooms=("collections", "sources"))

    @cached_property
    def _training(self) -> Recipe:
        def build(folder: Path) -> dict[str, Any]:
            return _keep_collection(read_training(self.profile), folder)

        training = self.profile.training
        config = {"folders": training.folders, "passages": training.passages, "queries": training.queries}
        config |= {"source": self.profile.collection.source, "languages": self.profile.collection.languages}
        config |= {"files": _hashes(source_files(self.profile, "training"))}
        return Recipe(self.folder / "collections" / "training", config, build, rooms=("collections", "sources"))

    def collection(self) -> Collection:
        """The collection that systems are evaluated on."""
        return load_collection(self._test.make().path / "data")

    def training_collection(self) -> Collection:
        """The collection that systems are trained on; no query or document of it is in the one for evaluation."""
        return load_collection(self._training.make().path / "data")

    # --- lexicons --------------------------------------------------------------------------------------------

    def _lexicon(self, code: str) -> Recipe:
        settings = self.profile.lexicon

        def build(folder: Path) -> dict[str, Any]:
            whole = read_lexicon_source(self.profile, code)
            kept = (whole.without_identities() if settings.drop_identities else whole).top(settings.top)
            write_lexicon(kept, folder / "lexicon.tsv.gz")
            return {"entries": len(kept), "read": len(whole), "identity share": round(whole.identity_share(), 4)}

        config = {"source": settings.source, "top": settings.top, "drop": settings.drop_identities, "language": code}
        config |= {"files": _hashes(source_files(self.profile, "lexicon", code))}
        return Recipe(self.folder / "lexicons" / code, config, build, rooms=("lexicon", "sources"))

    @cached_property
    def _lexicons(self) -> tuple[Recipe, ...]:
        return tuple(self._lexicon(code) for code in self.profile.lexicon.languages)

    def lexicons(self) -> dict[str, Lexicon]:
        """English → each language of the profile."""
        return {recipe.path.name: read_lexicon(recipe.make().path / "lexicon.tsv.gz") for recipe in self._lexicons}

    # --- encoders and models ---------------------------------------------------------------------------------

    def systems(self) -> Iterator[System]:
        """Every ranker of the profile, in the order of its conditions."""
        profile = self.profile
        for name in profile.conditions:
            condition = CONDITIONS[name]
            for extended in profile.encoder.extend:
                for pair in profile.pair_conditions if condition.per_pair else [None]:
                    for seed in profile.training.seeds:
                        yield System(condition, extended, pair, seed)

    @cached_property
    def _extended(self) -> Recipe:
        encoder = self.profile.encoder

        def build(folder: Path) -> dict[str, Any]:
            from cslab.ranking.cross_encoder import load_encoder, save_encoder
            from cslab.ranking.vocabulary import extend_vocabulary

            plain = load_encoder(encoder.name, device="cpu")
            longer = extend_vocabulary(plain, self.lexicons(), words=encoder.words)
            save_encoder(longer, folder / "encoder", {"base": encoder.name, "words per language": encoder.words})
            return {"vocabulary": len(plain.tokenizer), "extended": len(longer.tokenizer)}

        config = {"encoder": encoder.name, "words": encoder.words}
        place = self.folder / "encoders" / "extended"
        return Recipe(place, config, build, self._lexicons, ("ranking/vocabulary", "ranking/cross_encoder"))

    def encoder_source(self, extended: bool) -> str:
        """What `load_encoder` takes: the profile's encoder, or the folder of its extended form."""
        return str(self._extended.make().path / "encoder") if extended else self.profile.encoder.name

    @cached_property
    def _pairs(self) -> Recipe:
        training = self.profile.training

        def build(folder: Path) -> dict[str, Any]:
            from cslab.training.pairs import sample_pairs, save_pairs

            pairs = sample_pairs(self.training_collection(), negatives=training.negatives, seed=training.seeds[0])
            save_pairs(pairs, folder / "data")
            return {"pairs": len(pairs), "queries": len(set(pairs.qids))}

        config = {"negatives": training.negatives, "seed": training.seeds[0]}
        return Recipe(
            self.folder / "pairs" / "english", config, build, (self._training,), ("training/pairs", "ranking")
        )

    def _model(self, system: System) -> Recipe:
        training, profile = self.profile.training, self.profile

        def build(folder: Path) -> dict[str, Any]:
            return self._train(system, folder)

        settings = training.model_dump(exclude={"folders", "passages", "queries", "negatives", "seeds"})
        config = {"condition": system.condition, "pair": system.pair, "seed": system.seed, "training": settings}
        config |= {"encoder": profile.encoder.model_dump(exclude={"extend", "words"})}
        config |= {"p": profile.probability if system.condition.policy else None}
        inputs = (self._pairs, *self._lexicons, *([self._extended] if system.extended else []))
        rooms = ("training", "switching", "ranking", "text")
        return Recipe(self.folder / "models" / system.slug, config, build, inputs, rooms)

    def _train(self, system: System, folder: Path) -> dict[str, Any]:
        from cslab.ranking.cross_encoder import load_encoder
        from cslab.training.loop import TrainSettings, train

        training, encoder = self.profile.training, self.profile.encoder
        print(f"  training {system.slug}", flush=True)
        settings = TrainSettings(
            steps=training.steps, batch=training.batch, lr=training.lr, warmup=training.warmup, seed=system.seed,
            max_length=training.max_length, precision=training.precision, train_embeddings=encoder.train_embeddings,
        )  # fmt: skip
        start = load_encoder(self.encoder_source(system.extended), seed=system.seed)
        return train(start, self.pairs(), self.texts(system), settings, folder, card=self._card(system))

    def _card(self, system: System) -> dict[str, Any]:
        facts = {"condition": system.condition.name, "pair": system.pair, "seed": system.seed}
        facts |= {"profile": self.profile.name, "data": self.training_collection().name}
        return facts | {"lexicon": self.profile.lexicon.source, "encoder": self.profile.encoder.name}

    def texts(self, system: System) -> Callable[[int, Sequence[int]], list[tuple[str, str]]]:
        """What a ranker reads: a function of (epoch, indices of pairs) that gives (query, document) texts."""
        from cslab.training.conditions import pair_texts

        pair = split_pair(system.pair) if system.pair else None
        collection, lexicons, p = self.training_collection(), self.lexicons(), self.profile.probability
        return pair_texts(system.condition, self.pairs(), collection, lexicons, system.seed, pair, p)

    def pairs(self) -> "Pairs":
        """The training pairs, the same for every ranker."""
        from cslab.training.pairs import load_pairs

        return load_pairs(self._pairs.make().path / "data")

    def log(self, system: System) -> list[dict[str, Any]]:
        """The rows of a ranker's training log."""
        return [row for _, row in read_jsonl(self.train(system).path / "log.jsonl")]

    def train(self, system: System) -> Stage:
        """Trains a ranker; the model lies in `<stage>/model`, the log in `<stage>/log.jsonl`."""
        return self._model(system).make()

    # --- tasks, runs, scores ---------------------------------------------------------------------------------

    def task(self, pair: str) -> Task:
        """The task of a language pair such as `en-de` or `xx-xx`."""
        if pair not in self._tasks:
            chosen = self.profile.evaluation
            query, document = split_pair(pair)
            seed = self.profile.collection.seed
            made = make_task(self.collection(), query, document, chosen.protocol, chosen.depth, seed, self.pool)
            self._tasks[pair] = made
        return self._tasks[pair]

    @property
    def pool(self) -> list[str]:
        """The languages that MLIR draws from."""
        return list(self.profile.collection.languages)

    def pairs_of(self, system: System) -> list[str]:
        """The pairs a system is scored on: all, or the one it was trained for."""
        return [system.pair] if system.pair else list(self.profile.evaluation.pairs)

    def _runs(self, system: System) -> Recipe:
        def build(folder: Path) -> dict[str, Any]:
            return self._rerank(system, folder)

        evaluation = self.profile.evaluation
        config = {"pairs": self.pairs_of(system), "protocol": evaluation.protocol, "depth": evaluation.depth}
        config |= {"max_length": evaluation.max_length, "precision": self.profile.training.precision}
        inputs, rooms = (self._test, self._model(system)), ("ranking", "evaluation/settings")
        return Recipe(self.folder / "runs" / system.slug, config, build, inputs, rooms, shared=True)

    def _rerank(self, system: System, folder: Path) -> dict[str, Any]:
        from cslab.ranking.cross_encoder import load_encoder
        from cslab.ranking.rerank import rerank_all

        tasks = {pair: self.task(pair) for pair in self.pairs_of(system)}
        encoder = load_encoder(str(self.train(system).path / "model"))
        first = processes()[0] == 0
        if first:
            print(f"  re-ranking with {system.slug}", flush=True)
        # All pairs go together: a pool holds texts that the single languages hold too.
        runs = rerank_all(
            encoder, tasks, system.name, work=folder / "shards", tokens=self.folder / "tokens",
            max_length=self.profile.evaluation.max_length, precision=self.profile.training.precision,
            progress=print if first else None,
        )  # fmt: skip
        for pair, run in runs.items() if first else ():
            write_run(run, folder / f"{pair}.trec.gz")
        return {"candidates scored": sum(len(found) for run in runs.values() for found in run.scores.values())}

    def runs(self, system: System) -> dict[str, Run]:
        """Re-ranked runs by language pair."""
        path = self._runs(system).make().path
        return {pair: read_run(path / f"{pair}.trec.gz") for pair in self.pairs_of(system)}

    @cached_property
    def _scores(self) -> Recipe:
        measures = self.profile.evaluation.measures

        def build(folder: Path) -> dict[str, Any]:
            parts = []
            for pair in self.profile.evaluation.pairs:
                task = self.task(pair)
                parts.append(score_run(task.candidates, task.qrels, FIRST_STAGE, 0, measures, task.queries))
            for system in self.systems():
                for pair, run in self.runs(system).items():
                    task = self.task(pair)
                    parts.append(score_run(run, task.qrels, system.name, system.seed, measures, task.queries))
            scores = pd.concat(parts, ignore_index=True)
            write_scores(scores, folder / "scores.parquet")
            table = by_setting(scores, measures[0]).round(1)
            reach = {pair: round(self.task(pair).reachable(), 4) for pair in self.profile.evaluation.pairs}
            return {"measure": measures[0], "table": table.to_dict("index"), "reachable": reach}

        inputs = tuple(self._runs(system) for system in self.systems())
        return Recipe(self.folder / "scores" / "all", {"measures": measures}, build, inputs, ("evaluation", "stages"))

    def scores(self) -> pd.DataFrame:
        """The tidy table of every system, seed, pair, query and measure."""
        return read_scores(self._scores.make().path / "scores.parquet")

    # --- what is there ---------------------------------------------------------------------------------------

    def recipes(self) -> list[Recipe]:
        """Every stage of the profile, in order."""
        systems = list(self.systems())
        models, runs = [self._model(s) for s in systems], [self._runs(s) for s in systems]
        extended = [self._extended] if any(s.extended for s in systems) else []
        return [self._test, self._training, *self._lexicons, *extended, self._pairs, *models, *runs, self._scores]

    def status(self) -> pd.DataFrame:
        """Stage, name, state (`done`, `stale`, `partial`, `to do`) and the seconds it took."""
        rows = []
        for recipe in self.recipes():
            state = recipe.state()
            seconds = recipe.make().seconds if state == "done" else None
            rows.append((recipe.path.parent.name, recipe.path.name, state, seconds))
        return pd.DataFrame(rows, columns=["stage", "name", "state", "seconds"])


def _keep_collection(found: Collection, folder: Path) -> dict[str, Any]:
    save_collection(found, folder / "data")
    queries = {code: len(texts) for code, texts in found.queries.items()}
    documents = {code: len(texts) for code, texts in found.documents.items()}
    return {"name": found.name, "queries": queries, "documents": documents}


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    return {file.name if file.is_absolute() else str(file): sha256_file(file)[:16] for file in files}


def settings_of(pairs: Sequence[str]) -> dict[str, list[str]]:
    """Pairs grouped by setting, as the profile orders them."""
    grouped: dict[str, list[str]] = {}
    for pair in pairs:
        grouped.setdefault(setting(*split_pair(pair)), []).append(pair)
    return grouped
