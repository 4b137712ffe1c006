"""The training conditions as a table, and the text that a pair shows under each.

A condition says what the training text is, how it is switched and with which lexicon, whether a model serves one
language pair, and what is done to text at test time (2305.05295, section 4.1). Conditions that differ at test time
alone share a model. With ` + teacher` the labels are a teacher's scores of the English text, whatever the
student reads: Translate-Distill (2401.04810) with a lexicon in the translator's place. Text is made when a batch asks
for it, as a pure function of (seed, epoch, text id, side): a query reads alike in all its pairs of an epoch and
differently in the next, and what a worker, a resumed training or a preview sees is the same.

    texts = pair_texts(CONDITIONS["ML-CS"], pairs, collection, lexicons, seed=1)
    texts(epoch=0, indices=[0, 1])              # [("wer ate the курица", "…"), …]
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cslab.collections.collection import Collection
from cslab.languages import MIXED, is_pool, pool_of
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching.draw import Key, Side
from cslab.switching.policy import POLICIES, Policy, bilingual, with_rate
from cslab.switching.switch import Switcher, switcher
from cslab.training.pairs import Pairs

Lexicons = Mapping[str, Lexicon | Sequence[Lexicon]]
Named = tuple[str, str]  # (language, id) of a text
Held = Mapping[str, Mapping[str, str]]  # language → id → text


@dataclass(frozen=True)
class Condition:
    """How a ranker is trained and asked.

    Attributes:
        name: as in tables.
        training_text: "source", the language of the pairs, or "translated", the collection's own translations.
        policy: how the training text is switched; None for not at all.
        lexicon: "words", or "titles" of an encyclopedia, whose p is the policy's own.
        per_pair: one model per language pair; otherwise one model for all.
        test_text: "as is"; "translated" word by word into English, each text by the lexicon of its own language; or
            "translated by the query's", as the released code does it: documents by the lexicon of the query's language.
        model_of: the condition whose model is asked, where it is not trained for itself.
        taught: whether its labels are the scores that a teacher gives the English text (2401.04810), not judgements.
    """

    name: str
    training_text: str = "source"
    policy: Policy | None = None
    lexicon: str = "words"
    per_pair: bool = False
    test_text: str = "as is"
    model_of: str | None = None
    taught: bool = False

    @property
    def training(self) -> "Condition":
        """The condition that its model is trained under."""
        return CONDITIONS[self.model_of] if self.model_of else self


BY_QUERY = "translated by the query's"
TAUGHT = " + teacher"  # how the name of a condition ends whose labels are a teacher's
# The seven of 2305.05295, in its order; then the same as released, where that differs from what the paper says; then
# those with a teacher (Translate-Distill, 2401.04810, with a lexicon for the translator).
CONDITIONS: dict[str, Condition] = {
    row.name: row
    for row in (
        Condition("Zero-shot"),
        # The paper has one model per pair (give `pair`); without one, a single model learns all pairs evaluated.
        Condition("Fine-tuning", training_text="translated"),
        Condition("Zero-shot Translate-Test", test_text="translated", model_of="Zero-shot"),
        Condition("ML-CS Translate-Test", test_text="translated", model_of="ML-CS"),
        Condition("BL-CS", policy=replace(POLICIES["ML-CS"], name="BL-CS"), per_pair=True),
        Condition("ML-CS", policy=POLICIES["ML-CS"]),
        Condition("Wiki-CS", policy=POLICIES["Wiki-CS"], lexicon="titles"),
        Condition("ML-CS faithful", policy=POLICIES["ML-CS faithful"]),
        Condition("Wiki-CS faithful", policy=POLICIES["Wiki-CS faithful"], lexicon="titles"),
        Condition("Zero-shot Translate-Test faithful", test_text=BY_QUERY, model_of="Zero-shot"),
        Condition("ML-CS Translate-Test faithful", test_text=BY_QUERY, model_of="ML-CS"),
    )
}
CONDITIONS |= {
    name + TAUGHT: replace(CONDITIONS[name], name=name + TAUGHT, taught=True)
    for name in ("Zero-shot", "ML-CS", "Wiki-CS", "BL-CS")
}


def policy_for(
    condition: Condition,
    pair: tuple[str, str] | None = None,
    languages: Sequence[str] | None = None,
    probability: float | None = None,
    source: str = "en",
    words: str | None = None,
) -> Policy | None:
    """The switching policy that a condition's model is trained with.

    Args:
        condition: a row of the table.
        pair: query and document language, for a condition with one model per pair.
        languages: target languages instead of the policy's own; a policy that leaves some text in the source language
            goes on doing so.
        probability: p instead of the policy's own, where words are switched.
        source: language of the training text.
        words: "all" or "content" instead of the policy's own, where words are switched.

    Returns:
        The policy, or None for a condition that does not switch.

    Raises:
        CslabError: for a per-pair condition without a pair, or with a pair that leaves nothing to switch.
    """
    condition = condition.training
    policy = condition.policy
    if policy is None:
        return None
    if condition.per_pair:
        if pair is None or set(pair) == {source}:
            given = "no language pair" if pair is None else f"the pair {source}-{source}"
            raise CslabError(
                f"condition {condition.name}: {given}; name a pair with another language, e.g. {source}-de"
            )
        p = policy.query if probability is None else probability
        return bilingual(*pair, p=p, source=source, name=policy.name, words=words or policy.words)
    if languages is not None:
        kept = (source,) if policy.source in policy.languages else ()
        policy = replace(policy, languages=(*kept, *languages))
    policy = replace(policy, source=source)
    if condition.lexicon == "titles":
        return policy
    policy = policy if words is None else replace(policy, words=words)
    return policy if probability is None else with_rate(policy, probability)


# --- texts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SourceTexts:
    """Pairs in the language they were sampled in, untouched or switched."""

    pairs: Pairs
    queries: Mapping[str, str]
    documents: Mapping[str, str]
    seed: int = 0
    switcher: Switcher | None = None
    cuts: dict = field(default_factory=dict, repr=False, compare=False)  # kept by `reading.cut_once`

    def __call__(self, epoch: int, indices: Sequence[int]) -> list[tuple[str, str]]:
        """The (query, document) texts of some pairs in an epoch."""

        def one(side: Side, texts: Mapping[str, str], key: str) -> str:
            text = texts[key]
            return text if self.switcher is None else self.switcher.text(text, Key(self.seed, epoch, key), side)

        return _by_id(
            self.pairs, indices, lambda q: one("query", self.queries, q), lambda d: one("document", self.documents, d)
        )

    def named(self, epoch: int, indices: Sequence[int]) -> list[tuple[Named, Named]]:
        """The same by language and id; switched texts are those of these names."""
        ids = zip(self.pairs.qids[indices].tolist(), self.pairs.dids[indices].tolist(), strict=True)
        return [((self.pairs.language, qid), (self.pairs.language, did)) for qid, did in ids]

    def held(self, side: Side) -> Held:
        """The texts of a side by language and id."""
        return {self.pairs.language: self.queries if side == "query" else self.documents}

    def holding(self, queries: Held, documents: Held) -> "SourceTexts":
        """The same with other mappings of the same texts."""
        code = self.pairs.language
        return replace(self, queries=queries[code], documents=documents[code])


@dataclass(frozen=True)
class TranslatedTexts:
    """Pairs in the collection's translations: a query and its documents in one of some language pairs, epoch by epoch.

    The paper fine-tunes one model for each pair that it evaluates; given the same pairs, one model learns them all. A
    query draws its pair, and of a pool (`xx`) its language; each document of a pool draws its own.

    Attributes:
        directions: (query language, document language), either of which may be a pool.
    """

    pairs: Pairs
    collection: Collection
    seed: int = 0
    directions: tuple[tuple[str, str], ...] = ((MIXED, MIXED),)

    def __call__(self, epoch: int, indices: Sequence[int]) -> list[tuple[str, str]]:
        """The (query, document) texts of some pairs in an epoch."""
        queries, documents = self.collection.queries, self.collection.documents
        return [(queries[asked][qid], documents[told][did]) for (asked, qid), (told, did) in self.named(epoch, indices)]

    def named(self, epoch: int, indices: Sequence[int]) -> list[tuple[Named, Named]]:
        """The same by language and id."""
        ids = zip(self.pairs.qids[indices].tolist(), self.pairs.dids[indices].tolist(), strict=True)
        return [self._pair(epoch, qid, did) for qid, did in ids]

    def held(self, side: Side) -> Held:
        """The texts of a side by language and id."""
        at, texts = (0, self.collection.queries) if side == "query" else (1, self.collection.documents)
        codes = [code for direction in self.directions for code in _spoken(direction[at], texts)]
        return {code: texts[code] for code in dict.fromkeys(codes)}

    def holding(self, queries: Held, documents: Held) -> "TranslatedTexts":
        """The same with other mappings of the same texts."""
        held = self.collection
        queries, documents = {**held.queries, **queries}, {**held.documents, **documents}
        return replace(self, collection=replace(held, queries=queries, documents=documents))

    def _pair(self, epoch: int, qid: str, did: str) -> tuple[Named, Named]:
        queries, documents = self.collection.queries, self.collection.documents
        asked, told = self.directions[Key(self.seed, epoch, qid).number() % len(self.directions)]
        asked = self._drawn(epoch, qid, "query", [c for c in _spoken(asked, queries) if qid in queries[c]])
        held = {code: found for code in _spoken(told, documents) if (found := self._counterparts(did, code))}
        told = self._drawn(epoch, did, "document", list(held))
        return (asked, qid), (told, held[told][0])

    def _counterparts(self, did: str, code: str) -> tuple[str, ...]:
        return (did,) if code == self.pairs.language else self.collection.counterparts(did, code)

    def _drawn(self, epoch: int, key: str, side: Side, languages: Sequence[str]) -> str:
        if not languages:
            raise CslabError(f"{self.collection.name}: {side} '{key}' has no translation; leave its pairs out")
        return languages[Key(self.seed, epoch, key).number(side) % len(languages)]


def _spoken(code: str, texts: Held) -> list[str]:
    """The languages that a code of a direction stands for."""
    return pool_of(code, list(texts)) if is_pool(code) else [code]


def _by_id(
    pairs: Pairs, indices: Sequence[int], query: Callable[[str], str], document: Callable[[str], str]
) -> list[tuple[str, str]]:
    """Makes each distinct text of the pairs once."""
    qids, dids = pairs.qids[indices].tolist(), pairs.dids[indices].tolist()
    queries, documents = {q: query(q) for q in dict.fromkeys(qids)}, {d: document(d) for d in dict.fromkeys(dids)}
    return [(queries[q], documents[d]) for q, d in zip(qids, dids, strict=True)]


def pair_texts(
    condition: Condition,
    pairs: Pairs,
    collection: Collection,
    lexicons: Lexicons,
    seed: int,
    pair: tuple[str, str] | None = None,
    probability: float | None = None,
    words: str | None = None,
    directions: Sequence[tuple[str, str]] = ((MIXED, MIXED),),
) -> SourceTexts | TranslatedTexts:
    """The texts that a condition trains on.

    Args:
        condition: a row of the table.
        pairs: ids and labels.
        collection: where their texts are.
        lexicons: target language → lexicon, of the condition's kind; ML-CS and Wiki-CS switch into all of them.
        seed: of the run.
        pair: query and document language: needed by BL-CS, optional for Fine-tuning.
        probability: p of switching words instead of the policy's own.
        words: which words, likewise.
        directions: without a pair, the language pairs (or pools) that Fine-tuning learns; those that the collection
            has no translations for are left out.

    Raises:
        CslabError: for a missing language, lexicon, text or translation.
    """
    _check_texts(collection, pairs)
    condition = condition.training
    if condition.training_text == "translated":
        return TranslatedTexts(pairs, collection, seed, _translated(collection, condition, directions, pair))
    policy = policy_for(condition, pair, tuple(lexicons), probability, pairs.language, words)
    made = None if policy is None else switcher(lexicons, policy)
    queries, documents = collection.queries[pairs.language], collection.documents[pairs.language]
    return SourceTexts(pairs, queries, documents, seed, made)


def _translated(
    collection: Collection, condition: Condition, directions: Sequence[tuple[str, str]], pair: tuple[str, str] | None
) -> tuple[tuple[str, str], ...]:
    """The directions that a collection has texts for."""
    wanted = [pair] if pair else directions
    lost = ""
    kept = []
    for direction in wanted:
        sides = zip(direction, (collection.queries, collection.documents), strict=True)
        missing = [(code, texts) for code, texts in sides if not is_pool(code) and code not in texts]
        if missing:
            lost = f"{condition.name} needs text in '{missing[0][0]}'; it has {', '.join(missing[0][1])}"
        else:
            kept.append(direction)
    if not kept:
        raise CslabError(f"{collection.name}: {lost}")
    return tuple(kept)


def _check_texts(collection: Collection, pairs: Pairs) -> None:
    for side, ids in (("queries", pairs.qids), ("documents", pairs.dids)):
        texts = getattr(collection, side).get(pairs.language, {})
        if lost := next((key for key in dict.fromkeys(ids.tolist()) if key not in texts), None):
            raise CslabError(
                f"{collection.name}: a pair names '{lost}', in no {side} in '{pairs.language}'; sample the pairs again"
            )
