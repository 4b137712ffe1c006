"""From the settings of a profile to collections, published candidates and training pairs.

`COLLECTIONS` has a row for each `collection.source`. What has an address (XQuAD-R, SQuAD, NTREX, MKQA, mMARCO, MIRACL,
BEIR and BEIR-NL by name) is fetched from it; the rest lies in folders that the profile names. Writes nothing but what
the readers keep in the cache.

    collection = read_test(load_profile("demo").collection)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cslab.collections.atlas import atlas
from cslab.collections.atlas_data import FOLDER as ATLAS
from cslab.collections.beir import merge_folders, read_beir, read_beir_folders, read_unlabelled
from cslab.collections.beir_sets import beir, beir_nl
from cslab.collections.collection import Collection, check
from cslab.collections.miracl import miracl
from cslab.collections.mkqa import mkqa_queries
from cslab.collections.mmarco import mmarco, own_run, top1000_run
from cslab.collections.mmarco_triples import held_out, sbert_pairs
from cslab.collections.ntrex import ntrex
from cslab.collections.pool import read_pool
from cslab.collections.squad import squad_paragraphs, squad_sentences
from cslab.collections.trec import Run, read_run
from cslab.collections.xquad import packaged_file, xquad_r
from cslab.config import CollectionSettings, Profile
from cslab.evaluation.settings import sample_queries
from cslab.sources.places import beir_files, locate
from cslab.store import CslabError, nearest
from cslab.training.pairs import MarginFilter, Pairs, generator, sample_pairs

MMARCO = "mmarco"  # as a training folder
SQUAD = "squad"


@dataclass(frozen=True)
class CollectionSource:
    """A row of the table.

    Attributes:
        read: settings → collection.
        files: settings → the local files it is read from.
        runs: (settings, protocol, query ids) → published candidates by language.
    """

    read: Callable[[CollectionSettings], Collection]
    files: Callable[[CollectionSettings], list[Path]] = lambda settings: []
    runs: Callable[[CollectionSettings, str, Iterable[str]], dict[str, Run]] = lambda settings, protocol, qids: {}


def read_test(settings: CollectionSettings) -> Collection:
    """The collection for evaluation, its queries sampled by seed where it has more than asked for."""
    found = COLLECTIONS[settings.source].read(settings)
    found = found.subset(sample_queries(found, settings.queries, settings.seed))
    check(found)
    return found


def read_runs(settings: CollectionSettings, protocol: str, collection: Collection) -> dict[str, Run]:
    """Published candidates of a collection's queries by the language they were found in; none for most sources."""
    qids = dict.fromkeys(q for texts in collection.queries.values() for q in texts)
    return COLLECTIONS[settings.source].runs(settings, protocol, qids)


def collection_files(settings: CollectionSettings) -> list[Path]:
    """Local files the collection for evaluation is read from."""
    return COLLECTIONS[settings.source].files(settings)


# --- the sources ---------------------------------------------------------------------------------------------


def _folders(settings: CollectionSettings) -> dict[str, Path]:
    if not settings.folders:
        raise CslabError(
            f"collection.source={settings.source} needs folders; set collection.folders={{LANGUAGE: FOLDER}}"
        )
    return {code: locate(name, "collection.folders") for code, name in settings.folders.items()}


def _folder_files(settings: CollectionSettings) -> list[Path]:
    return [file for folder in _folders(settings).values() for file in beir_files(folder)] if settings.folders else []


def _set_name(settings: CollectionSettings) -> str:
    if not settings.name:
        raise CslabError(f"collection.source={settings.source} needs a set; set collection.name, e.g. scifact")
    return settings.name


def _atlas(settings: CollectionSettings) -> Collection:
    return atlas(
        settings.split or "test", settings.domain, settings.passages, settings.queries, settings.seed,
        settings.languages,
    )  # fmt: skip


def _beir(settings: CollectionSettings) -> Collection:
    if not settings.folders:
        return beir(_set_name(settings), settings.split or "test", settings.outside)
    if settings.outside == "refuse":
        return read_beir_folders(_folders(settings), settings.split or None)
    parts = {c: read_beir(f, c, settings.split or None, outside="drop") for c, f in _folders(settings).items()}
    return _joined(next(iter(parts.values())).name, parts)


def _beir_nl(settings: CollectionSettings) -> Collection:
    readers = {"en": beir, "nl": beir_nl}
    if other := next((code for code in settings.languages if code not in readers), None):
        raise CslabError(f"BEIR-NL: '{other}' is not in it; set collection.languages=[nl] or [en, nl]")
    name, split = _set_name(settings), settings.split or "test"
    parts = {code: readers[code](name, split, settings.outside) for code in settings.languages}
    return _joined(f"beir-nl-{name}-{split}", parts)


def _joined(name: str, parts: Mapping[str, Collection]) -> Collection:
    """Collections of one language each as one; equal ids say that texts correspond."""
    sides = ({c: part.queries[c] for c, part in parts.items()}, {c: part.documents[c] for c, part in parts.items()})
    return Collection(name, *sides, {c: part.qrels[c] for c, part in parts.items()})


def _miracl(settings: CollectionSettings) -> Collection:
    """Question ids mean other questions in another language, so each carries its language."""
    parts = {}
    for code in settings.languages:
        part = miracl(code, settings.split or "dev", "judged" if settings.judged else "all")
        queries = {f"{code}.{q}": text for q, text in part.queries[code].items()}
        qrels = {f"{code}.{q}": found for q, found in part.qrels[code].items()}
        parts[code] = replace(part, queries={code: queries}, qrels={code: qrels})
    return _joined("miracl", parts)


def _xquad_files(settings: CollectionSettings) -> list[Path]:
    return [path for code in settings.languages if (path := packaged_file(code))]


def _mkqa(settings: CollectionSettings) -> Collection:
    """The documents and judgements of folders, asked MKQA's questions of the same ids."""
    held = read_beir_folders(_folders(settings), settings.split or None)
    judged = {q for rows in held.qrels.values() for q in rows}
    asked = mkqa_queries(settings.languages)
    queries = {code: {q: text for q, text in texts.items() if q in judged} for code, texts in asked.items()}
    if not next(iter(queries.values())):
        raise CslabError(f"collection.folders: {held.name} judges no question of MKQA; its query ids must be MKQA's")
    known = queries[settings.languages[0]]
    qrels = {c: {q: found for q, found in rows.items() if q in known} for c, rows in held.qrels.items()}
    return Collection(f"mkqa-{held.name}", queries, held.documents, qrels)


def _mmarco_runs(settings: CollectionSettings, protocol: str, qids: Iterable[str]) -> dict[str, Run]:
    if protocol == "english":
        return {"en": top1000_run(qids=list(qids))}
    return {code: own_run(code, qids=list(qids)) for code in settings.languages}


def _pool(settings: CollectionSettings) -> Collection:
    pools = {c: read_pool(folder, c, settings.outside) for c, folder in _folders(settings).items()}
    return _joined(next(iter(pools.values())).collection.name, {c: pool.collection for c, pool in pools.items()})


def _pool_runs(settings: CollectionSettings, protocol: str, qids: Iterable[str]) -> dict[str, Run]:
    if not settings.run:
        return {}
    found = {}
    for code, folder in _folders(settings).items():
        runs = read_pool(folder, code, settings.outside).runs
        if settings.run not in runs:
            raise CslabError(f"{folder}: no run '{settings.run}'; {nearest(settings.run, list(runs))} (collection.run)")
        scores = runs[settings.run].scores
        found[code] = replace(runs[settings.run], scores={q: scores[q] for q in qids if q in scores})
    return found


COLLECTIONS: dict[str, CollectionSource] = {
    "atlas": CollectionSource(_atlas, lambda settings: sorted(ATLAS.glob("*.tsv"))),
    "xquad": CollectionSource(lambda settings: xquad_r(settings.languages, settings.unit), _xquad_files),
    "squad-it": CollectionSource(lambda settings: squad_paragraphs(settings.languages)),
    "ntrex": CollectionSource(lambda settings: ntrex(settings.languages)),
    "mkqa": CollectionSource(_mkqa, _folder_files),
    "mmarco": CollectionSource(lambda s: mmarco(s.languages, s.split or "dev.small"), runs=_mmarco_runs),
    "miracl": CollectionSource(_miracl),
    "beir": CollectionSource(_beir, _folder_files),
    "beir-nl": CollectionSource(_beir_nl),
    "pool": CollectionSource(_pool, _folder_files, _pool_runs),
}


# --- training ------------------------------------------------------------------------------------------------


def read_training(profile: Profile) -> Collection:
    """The collection of a profile for training: the atlas's own training towns, or English text together.

    A folder may be followed by a split (`nq_qed:train`). The word `squad` alone means SQuAD v1.1's training questions
    with the sentences of their paragraphs, from the original address; `mmarco` alone mMARCO's training questions, in
    every language if a condition trains on translations.

    Raises:
        CslabError: if the profile names no training text, or what it names cannot be had or read.
    """
    settings, test = profile.training, profile.collection
    if settings.folders == [MMARCO]:
        return mmarco(training_languages(profile), "train")
    if not settings.folders and test.source != "atlas":
        raise CslabError("training.folders is empty; name BEIR folders of English questions, or `squad`")
    if not settings.folders:
        return atlas("train", "towns", settings.passages, settings.queries, test.seed, test.languages)
    if settings.folders == [SQUAD]:
        found = squad_sentences()
    else:
        found = merge_folders([_place(name, "training.folders") for name in settings.folders])
    return found.subset(sample_queries(found, settings.queries, test.seed))


def read_unjudged(profile: Profile) -> Collection:
    """The questions and passages that a teacher labels alone, the questions a seeded sample as those for training."""
    found = read_unlabelled([_place(name, "training.unlabelled") for name in profile.training.unlabelled])
    asked = list(found.queries["en"])
    drawn = generator("unlabelled", profile.collection.seed).permutation(len(asked))[: profile.training.queries]
    return found.subset(asked[i] for i in sorted(drawn.tolist()))


def unjudged_files(profile: Profile) -> list[Path]:
    """Local files these are read from."""
    return _files(profile.training.unlabelled, "training.unlabelled")


def training_languages(profile: Profile) -> list[str]:
    """The languages that mMARCO's training text is needed in: English, and for fine-tuning all."""
    return profile.collection.languages if "Fine-tuning" in profile.conditions else ["en"]


def read_pairs(profile: Profile, collection: Collection) -> Pairs:
    """The training pairs of a profile: mMARCO's own, as many as the steps take, or a sample with hard negatives.

    Raises:
        CslabError: for negatives of a dense ranking that no teacher gives, or where negatives come as they are.
    """
    training = profile.training
    if training.folders == [MMARCO]:
        if training.negatives_from == "dense" or (training.teacher and training.teacher.margin is not None):
            raise CslabError(
                "training: the triples of mmarco come as they are; leave out negatives_from and teacher.margin"
            )
        wanted = training.steps * training.batch
        qids, dids, labels = zip(*sbert_pairs(wanted, training.negatives, held_out()), strict=True)
        return Pairs(np.array(qids), np.array(dids), np.array(labels, np.float32), training.negatives + 1)
    held = set(dev_queries(profile, collection))
    asked = [qid for qid in collection.qrels["en"] if qid not in held]
    return sample_pairs(
        collection, negatives=training.negatives, seed=training.seeds[0], qids=asked,
        runs=[*(read_run(file, "en", "en") for file in run_files(profile)), *_dense(profile, collection, asked)],
        keep=_filter(profile, collection),
    )  # fmt: skip


def _dense(profile: Profile, collection: Collection, qids: Sequence[str]) -> list[Run]:
    """The ranking of the teacher's dual encoder, where hard negatives come from that."""
    from cslab.training.teachers import teacher_ranking

    training = profile.training
    dense = training.negatives_from == "dense"
    return [teacher_ranking(training.teacher, collection, training.precision, qids)] if dense else []


def _filter(profile: Profile, collection: Collection) -> MarginFilter | None:
    """What keeps false negatives out: the teacher, where it has a margin."""
    from cslab.training.teachers import Teacher

    settings, precision = profile.training.teacher, profile.training.precision
    if settings is None or settings.margin is None:
        return None
    return MarginFilter(Teacher.of(settings, collection, precision).score, margin=settings.margin)


def dev_queries(profile: Profile, collection: Collection) -> list[str]:
    """Queries of the training collection that are kept from training, a seeded sample.

    Raises:
        CslabError: where mMARCO's triples leave none to hold out.
    """
    wanted = profile.training.dev_queries
    if wanted and profile.training.folders == [MMARCO]:
        raise CslabError("training.dev_queries: the triples of mmarco come as they are; leave it at 0")
    return sample_queries(collection, wanted, profile.training.seeds[0]) if wanted else []


def run_files(profile: Profile) -> list[Path]:
    """The runs that hard negatives come from."""
    return [locate(name, "training.runs") for name in profile.training.runs]


def _place(name: str, key: str) -> str:
    """The path of a training folder; a split that follows a colon stays behind it."""
    folder, colon, split = name.partition(":")
    return f"{locate(folder, key)}{colon}{split}"


def _files(names: Sequence[str], key: str) -> list[Path]:
    return [file for name in names for file in beir_files(Path(_place(name, key).partition(":")[0]))]


def training_files(profile: Profile) -> list[Path]:
    """Local files the training collection is read from."""
    names: Sequence[str] = [name for name in profile.training.folders if name not in (SQUAD, MMARCO)]
    if names:
        return _files(names, "training.folders")
    return sorted(ATLAS.glob("*.tsv")) if not profile.training.folders else []
