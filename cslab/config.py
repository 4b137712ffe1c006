"""Profiles: strict, typed settings of a whole experiment; unknown keys are refused with the nearest name.

A profile is a YAML file, `cslab/data/profiles/<name>.yaml` or a user's own. Any value can be overridden by a dotted
path, as `--set training.steps=500` does. The same classes hold the defaults, so a profile names only what differs.

    >>> override({"training": {"steps": 5}}, ["training.seed=2"])
    {'training': {'steps': 5, 'seed': 2}}
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from cslab.choices import EncoderChoice, Strict, TeacherSettings
from cslab.languages import language, pairs_named
from cslab.resources import home, packaged
from cslab.store import CslabError, nearest, read_lines

Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # of a folder of outputs: neither `..` nor a path


class CollectionSettings(Strict):
    """What is searched: a row of `cslab.sources.COLLECTIONS` and what it asks for."""

    source: Literal[
        "atlas", "xquad", "squad-it", "ntrex", "mkqa", "mmarco", "miracl", "beir", "beir-nl", "pool"
    ] = "atlas"  # fmt: skip
    languages: list[str] = Field(default_factory=lambda: ["en", "de", "it", "ru", "ar", "nl"], min_length=1)
    split: str = ""  # empty: the source's own test split; the atlas has a dev split to choose settings on
    queries: int = Field(300, ge=1)  # test queries; a seeded sample where the collection has more
    seed: int = 0
    unit: Literal["sentence", "paragraph"] = "sentence"  # of XQuAD-R
    domain: Literal["towns", "voyages"] = "towns"  # of the atlas
    passages: int = Field(1500, ge=50)  # of the atlas
    folders: dict[str, str] = Field(default_factory=dict)  # language → BEIR folder, for `beir`, `pool` and `mkqa`
    name: str = ""  # of a set, for `beir` without folders and `beir-nl`
    judged: bool = False  # of MIRACL: a pool of the judged passages alone
    outside: Literal["refuse", "drop"] = "refuse"  # judgements of documents that are not there
    run: str = ""  # of a pool: the run whose candidates are re-ranked; empty: our own BM25

    @field_validator("languages")
    @classmethod
    def _known(cls, codes: list[str]) -> list[str]:
        return [language(code).code for code in codes]


class LexiconSource(Strict):
    """Where translations come from: a row of `cslab.sources.LEXICONS` and what it asks for."""

    source: Literal["atlas", "atlas-titles", "atlas-articles", "induced", "muse", "tsv", "titles"] = "atlas"
    folder: str = ""  # of `muse`: `en-xx.txt`; of `tsv`: `en-xx.tsv`; of `titles`: TSV or linguatools XML (all .gz too)
    # of `induced`; with neither vectors nor text these are the atlas's:
    # by language, e.g. vectors/{language}.vec; a published set, e.g. wiki.multi; or a sentence encoder, e.g. me5, which
    # reads the words of `text`, or of the dictionaries en-xx.txt in `folder`
    vectors: str = ""
    text: str = ""  # text to train vectors on, e.g. text/news.{language}.txt.gz
    seed: str = ""  # dictionaries to align by, e.g. dict/en-{language}.txt, or `identical`; empty: aligned already
    limit: int = Field(200_000, ge=1)  # words read of each language
    retrieval: Literal["nn", "csls"] = "csls"
    refine: bool = True
    sentences: int = Field(60_000, ge=1000)  # of the atlas
    seed_words: int = Field(250, ge=10)  # of the atlas


class LexiconSettings(LexiconSource):
    """The lexicon of words, and those that conditions or ablations ask for besides it."""

    languages: list[str] = Field(default_factory=lambda: ["de", "it", "ru", "ar", "nl"], min_length=1)
    top: int = Field(1, ge=1)  # translations kept per word
    drop_identities: bool = True
    further: list[LexiconSource] = Field(default_factory=list)  # merged behind the first, by priority
    titles: LexiconSource | None = None  # what Wiki-CS switches into
    inverse: list[str] = Field(default_factory=list)  # languages that Translate-Test reads; empty: as many as it meets
    alternatives: dict[str, LexiconSource] = Field(default_factory=dict)  # of the ablations, by name


class EncoderSettings(Strict):
    """The encoder that is trained: a hub id, a folder, `me5`, `minilm` or `atlas`; each with or without extension."""

    name: str = "atlas"
    extend: list[bool] = Field(default_factory=lambda: [False], min_length=1)
    words: int = Field(10_000, ge=1)  # per language, most frequent in the lexicon first
    vocabulary: Literal["whole", "needed"] = "whole"  # needed: cut to collections and lexicons; Unigram encoders alone
    train_embeddings: bool = True
    frozen_layers: int = Field(0, ge=0)  # from the first: they are not trained
    dropout: float | None = Field(None, ge=0, lt=1)  # in training; empty: as the encoder's own configuration says


class TrainingSettings(Strict):
    """How a ranker is trained, and on what English text (the atlas brings its own)."""

    folders: list[str] = Field(default_factory=list)  # BEIR folders; or `squad`, or `mmarco`
    unlabelled: list[str] = Field(default_factory=list)  # folders of questions and passages that a teacher labels alone
    passages: int = Field(4000, ge=50)  # of the atlas's training towns
    queries: int = Field(6000, ge=1)  # a seeded sample; of `mmarco` all, and as many triples as the steps take
    steps: int = Field(400, ge=1)
    batch: int = Field(64, ge=1)
    lr: float = Field(2e-5, gt=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    schedule: Literal["linear", "paper", "cosine"] = "linear"  # the paper's was sized for more steps than it took
    accumulate: int = Field(1, ge=1)  # parts of a batch whose gradients are added up
    loss: Literal["bce", "hinge", "ranknet", "lce", "lambdaloss"] = "bce"  # of judged labels; teachers have their own
    align: float = Field(0, ge=0)  # weight of the alignment with the unswitched text of each pair
    negatives: int = Field(4, ge=1)
    runs: list[str] = Field(default_factory=list)  # TREC runs that hard negatives come from; empty: BM25
    negatives_from: Literal["bm25", "dense"] = "bm25"  # dense: the ranking of the teacher's dual encoder, beside runs
    teacher: TeacherSettings | None = None  # of conditions that end in `+ teacher`, and to filter negatives
    max_length: int = Field(64, ge=8)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    workers: int = Field(0, ge=0)  # processes that switch and tokenise ahead
    save_every: int = Field(200, ge=0)  # steps between checkpoints; 0 for none
    trackers: list[str] = Field(default_factory=list)  # e.g. tensorboard, wandb
    dev_queries: int = Field(0, ge=0)  # held out of the training collection, to evaluate on
    dev_pairs: list[str] = Field(default_factory=lambda: ["en-en"], min_length=1)
    evaluate_every: int = Field(0, ge=0)  # steps; 0 for never
    patience: int = Field(0, ge=0)  # evaluations without a better one until training stops; 0 for no early stop
    seeds: list[int] = Field(default_factory=lambda: [1], min_length=1)
    budget: Literal["steps", "compute"] = "steps"  # of robust methods: as many steps as plain training, or its time
    clean_steps: int = Field(0, ge=0)  # plain ones that robust training begins with
    unswitched_steps: int = Field(0, ge=0)  # that read English before switching sets in

    @model_validator(mode="after")
    def _labelled(self) -> "TrainingSettings":
        if self.unlabelled and self.teacher is None:
            raise CslabError(
                "training.unlabelled: questions without judgements need a teacher; name one, e.g. "
                "training.teacher={models: [me5]}"
            )
        return self

    @property
    def teacher_of_negatives(self) -> dict[str, Any] | None:
        """What of the teacher has a say in which negatives are drawn."""
        told = self.teacher is not None and (self.teacher.margin is not None or self.negatives_from == "dense")
        return self.teacher.model_dump(include={"models", "scale", "margin"}) if told else None

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, values: Any) -> Any:
        """Refuses two older spellings and shows the present one."""
        given = values if isinstance(values, Mapping) else {}
        new = "training.teacher={models: [me5], "
        if (loss := given.get("loss")) in get_args(TeacherSettings.model_fields["loss"].annotation):
            raise CslabError(
                f"training.loss={loss} learns a teacher's scores; write {new}loss: {loss}}} and name conditions such "
                "as 'ML-CS + teacher'"
            )
        if "margin" in given:
            raise CslabError(f"training.margin is a part of the teacher; write {new}margin: {given['margin']}}}")
        return values


class EvaluationSettings(Strict):
    """Which pairs are evaluated, on which candidates.

    Pairs are written `en-de`; `xx` is a pool of all languages and `xx6` one of the first six. The names of
    `cslab.languages.PAIR_SETS` stand for the pairs of 2305.05295.
    """

    pairs: list[str] = Field(default_factory=lambda: ["en-en", "en-de", "xx-xx"], min_length=1)
    protocol: Literal["english", "own"] = "english"
    depth: int = Field(15, ge=1)
    max_length: int = Field(96, ge=8)  # tokens of a pair; text in a foreign script is longer than it was in training
    measures: list[str] = Field(default_factory=lambda: ["MRR@10", "nDCG@10"], min_length=1)

    @field_validator("pairs")
    @classmethod
    def _pairs(cls, values: list[str]) -> list[str]:
        return pairs_named(values)


class Rates(Strict):
    """Pairs a second of the device, for the estimate of what mMARCO costs; measure yours on a short run."""

    score: float = Field(4000, gt=0)
    train: float = Field(1500, gt=0)


class FurtherTest(Strict):
    """A further collection that the same rankers are evaluated on."""

    collection: CollectionSettings
    evaluation: EvaluationSettings


class RerankerSettings(Strict):
    """The cross-attention head that puts a dual encoder's first images in a new order, and how it is trained."""

    k: int = Field(10, ge=2)  # candidates that are re-ranked
    images: int = Field(2000, ge=8)  # to train on, at most: all that their tower knows of them is held in memory
    steps: int = Field(200, ge=1)
    batch: int = Field(32, ge=1)  # texts, each with its image and `negatives` others
    lr: float = Field(1e-3, gt=0)
    negatives: int = Field(7, ge=1)
    depth: int = Field(30, ge=2)  # of the dual encoder's own ranking, from which they are drawn
    loss: Literal["lce", "bce"] = "lce"
    width: int = Field(64, ge=4)
    layers: int = Field(1, ge=1)


class ImageTextSettings(Strict):
    """Images and captions: drawn `scenes`, or real captions; without images, English captions are searched.

    `folder` has tables of captions (`multi30k.train.tsv.gz`, …, see `cslab.image_data`); empty: the sources' own files.
    """

    source: Literal["scenes", "multi30k", "flickr30k", "coco"] = "scenes"  # what is trained on
    tests: list[Literal["multi30k", "xtd10", "xm3600", "xflickrco", "wit", "coco", "flickr30k"]] = Field(
        default_factory=lambda: ["multi30k", "xtd10"], min_length=1
    )  # of real captions
    images: list[str] = Field(default_factory=list)  # folders, shards, `coco`, `xm3600`; or [web], from their addresses
    folder: str = ""
    described: bool = False  # of `multi30k`: train on five descriptions of an image instead of one
    encoder: str = "minilm"  # of real captions; scenes make their own towers, images ask for a joint model
    extend: list[bool] = Field(default_factory=lambda: [False], min_length=1)  # of real captions: with lexicons' words
    plain: list[str] = Field(default_factory=list)  # conditions that are shown without these words, too
    words: int = Field(10_000, ge=1)
    languages: list[str] = Field(default_factory=lambda: ["en", "de", "it", "ru", "ar", "nl", "fr", "es", "pt"])
    switched: list[str] = Field(default_factory=lambda: ["de", "it", "ru", "ar", "nl"], min_length=1)
    conditions: list[str] = Field(  # of `cslab.training.caption_conditions`, e.g. `M3P + align + FreeLB (both)`
        default_factory=lambda: ["Zero-shot", "Translate-test", "ML-CS", "ML-CS + FGM", "Fine-tuning"], min_length=1
    )
    corrected: list[str] = Field(default_factory=lambda: ["Zero-shot"])  # conditions that are shown corrected, too
    corrections: list[Literal["csls", "softmax"]] = Field(default_factory=lambda: ["csls"])
    bank: Literal["training", "queries"] = "training"  # over what hubs are measured
    reranked: list[str] = Field(default_factory=list)  # conditions that are shown re-ranked, too; they need images
    reranker: RerankerSettings = RerankerSettings()
    train: int = Field(2000, ge=8)  # images
    test: int = Field(500, ge=2)
    base_steps: int = Field(120, ge=1)  # of the scenes' own towers, on English captions
    base_lr: float = Field(1e-3, gt=0)
    steps: int = Field(100, ge=1)
    batch: int = Field(64, ge=2)
    chunk: int = Field(0, ge=0)  # texts encoded at a time, with cached gradients; 0 for the batch at once
    train_image: bool = False  # the image tower, too; all training images are then held as pixels
    lr: float = Field(5e-4, gt=0)
    probability: float | None = Field(None, ge=0, le=1)  # p of switching words; empty: the policy's own
    align: float = Field(0.1, ge=0)  # weight of the alignment loss, for conditions that have it
    epsilon: float = Field(0.1, ge=0)  # radius of adversaries, in norms of the text's (or image's) embeddings
    max_length: int = Field(48, ge=8)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seeds: list[int] = Field(default_factory=lambda: [1], min_length=1)


class AttackSettings(Strict):
    """How rankers are attacked: on which pair, by which row of `cslab.attack_stages.METHODS`, how far and how often.

    By lexicon only queries in English can be changed: with neither pair nor method given it is words on the first pair
    with English queries, and typing errors on the first pair where there is none.
    """

    pair: str = ""
    method: str = ""
    words: int = Field(3, ge=1)  # changed in a query, at most
    rankings: int | None = Field(None, ge=1)  # model queries for a query, at most; null for no limit
    beam: int | None = Field(1, ge=1)  # texts that a round goes on from; 1 is greedy, null keeps all
    places: int | None = Field(2, ge=1)  # words that a round tries to change, those that matter most; null for all
    goal: Literal["rank", "loss"] = "rank"  # of the first relevant document, or the loss over the candidates
    queries: int = Field(40, ge=1)  # a seeded sample of the test queries
    depth: int = Field(10, ge=2)  # candidates that are ranked
    radii: list[float] = Field(default_factory=lambda: [0.0, 0.02, 0.05, 0.1], min_length=1)  # of moved embeddings


class Profile(Strict):
    """A whole experiment: what is searched, the lexicons, the encoder, the conditions, training and evaluation."""

    name: Name
    about: str = ""
    collection: CollectionSettings = CollectionSettings()
    lexicon: LexiconSettings = LexiconSettings()
    encoder: EncoderSettings = EncoderSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    image_text: ImageTextSettings | None = None
    conditions: list[str] = Field(default_factory=lambda: ["Zero-shot", "ML-CS"], min_length=1)
    probability: float = Field(0.5, ge=0, le=1)  # p of BL-CS and ML-CS, each side
    words: Literal["all", "content"] = "all"  # what they switch: all words, or no stop-words
    untouched: list[EncoderChoice] = Field(default_factory=list)  # encoders that rank as they are, each a row
    fuse: list[str] = Field(default_factory=list)  # conditions or untouched names; with ` (rrf)`: by reciprocal ranks
    robust: list[str] = Field(default_factory=lambda: ["none"], min_length=1)  # methods of `cslab.training.robust`
    cells: dict[str, list[str]] = Field(default_factory=dict)  # condition → its methods, where not those of `robust`
    pair_conditions: list[str] = Field(default_factory=lambda: ["en-de"])  # pairs that per-pair conditions train for
    attack: AttackSettings = AttackSettings()
    tests: dict[Name, FurtherTest] = Field(default_factory=dict)  # further collections, by name
    rates: Rates = Rates()
    ablations: list[str] = Field(default_factory=list)  # rows of `cslab.systems.ABLATIONS`
    jobs: int = Field(1, ge=1)  # rankers trained or asked at a time, each with its share of the cores or its own GPU


def profiles_folder() -> Path:
    """Where the shipped profiles are."""
    return packaged("profiles")


def outputs_folder() -> Path:
    """Where profiles write: `$CSLAB_OUTPUTS`, or `outputs` of the clone or the present folder."""
    return Path(os.environ.get("CSLAB_OUTPUTS") or home() / "outputs")


def override(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Applies `a.b=value` settings (values in YAML, nothing for an empty text) to a nested mapping; returns a new one.

    Raises:
        CslabError: for an item that is no `key=value`, a value that is not YAML, or parts of what has none.
    """
    result = _copy(values)
    for item in settings:
        path, separator, text = item.partition("=")
        if not separator or not path:
            raise CslabError(f"--set {item}: expected key=value, e.g. --set training.steps=500")
        *parents, last = path.split(".")
        place = result
        for name in parents:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise CslabError(f"--set {item}: '{name}' is a single value and has no parts; drop what follows it")
        try:
            place[last] = yaml.safe_load(text) if text else ""
        # A date of a 13th month is a plain ValueError.
        except (yaml.YAMLError, ValueError, RecursionError):
            raise CslabError(f"--set {item}: '{text}' is not a YAML value; quote it") from None
    return result


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def load_profile(name: str, settings: Sequence[str] = ()) -> Profile:
    """Reads a profile by name or by the path of its YAML file, with overrides; `base` names a profile it goes out from.

    Raises:
        CslabError: for an unknown profile, key or value, with file, place and remedy.
    """
    path = _path(name)
    return make_profile(override({"name": path.stem} | _whole(path), settings), str(path))


def _whole(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a profile over those of its base, which may have a base itself."""
    if path in above:
        raise CslabError(f"{above[-1]}: base '{path.stem}' goes out from this profile itself; name another one")
    values = _read(path)
    base = values.pop("base", None)
    return values if base is None else merged(_whole(_path(str(base)), (*above, path)), values)


def _path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)  # reading tells if it is not there
    path = profiles_folder() / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in profiles_folder().glob("*.yaml"))
        raise CslabError(f"profile '{name}' is not known; {nearest(name, known)}")
    return path


def _read(path: Path) -> dict[str, Any]:
    text = "\n".join(line for _, line in read_lines(path))
    try:
        values = yaml.load(text, Loader=_OnceLoader) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise CslabError(f"{path}:{mark.line + 1 if mark else 1}: not YAML ({reason}); repair the line") from None
    if not isinstance(values, dict):
        raise CslabError(f"{path}:1: a profile is a mapping of settings; see {packaged('profiles', 'demo.yaml')}")
    return values


class _OnceLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{name}' stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value, the second's.

    >>> merged({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    result = _copy(first)
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def make_profile(values: Mapping[str, Any], where: str = "profile") -> Profile:
    """Checks the values of a profile; the first mistake becomes one `CslabError`."""
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        raise CslabError(f"{where}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place, location = [str(part) for part in first["loc"]], ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{location}'; {nearest(place[-1], _fields_at(place[:-1]))}"
    return f"{location} = {first['input']!r}: {first['msg'][:1].lower()}{first['msg'][1:]}"


def _fields_at(parents: Sequence[str]) -> list[str]:
    """The keys of the settings at a place; items of lists and mappings have those of their kind."""
    kind: Any = Profile
    for name in parents:
        kind = _item(kind) if type(None) in get_args(kind) else kind
        fields = getattr(kind, "model_fields", None)
        kind = fields[name].annotation if fields and name in fields else _item(kind)
    while not hasattr(kind, "model_fields"):
        kind = _item(kind)
    return list(kind.model_fields)


def _item(kind: Any) -> Any:
    """What a list, a mapping or an optional value holds."""
    return next(part for part in reversed(get_args(kind)) if part is not type(None))
