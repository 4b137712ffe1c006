"""Translate-Test: queries and documents turned into English word by word, before an English ranker sees them.

Each text is read with the inverted lexicon of its own language (2305.05295, after Roy et al. 2020): a word or n-gram
that has an entry becomes its first translation, everything else stays. The released code looks documents up in the
lexicon of the *query's* language instead; `by="query"` repeats that, so that the difference can be measured.

    task = translate_task(lab.task("de-it"), {"de": german_english, "it": italian_english})
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cslab.evaluation.settings import Task
from cslab.languages import is_pool
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching.draw import Key
from cslab.switching.policy import Policy
from cslab.switching.switch import switcher

ENGLISH = "en"
LONGEST = 3  # words of the longest n-gram that is looked up


def translate_task(task: Task, lexicons: Mapping[str, Lexicon], by: str = "own") -> Task:
    """The task in English words; of the documents, those among the candidates alone.

    Args:
        task: any task.
        lexicons: language → lexicon from it into English, such as `Lexicon.inverted` gives.
        by: "own", the lexicon of each text's language, or "query": that of the query's language for documents too.

    Raises:
        CslabError: for a language without a lexicon, or a pool of queries with `by="query"`.
    """
    if by == "query" and is_pool(task.query_lang):
        raise CslabError(
            f"pair {task.pair}: its queries have many languages, so none to read documents with; leave it out"
        )
    wanted = dict.fromkeys(did for found in task.candidates.scores.values() for did in found)

    def translated(side: str, ids: Iterable[str], texts: Mapping[str, str]) -> dict[str, str]:
        made = {}
        for key in ids:
            code = task.language_of(side, key)
            reader = task.query_lang if by == "query" and code != ENGLISH else code
            made[key] = translate(texts[key], reader, lexicons)
        return made

    queries = translated("query", task.queries, task.queries)
    return replace(task, queries=queries, documents=translated("document", wanted, task.documents))


def translate(text: str, code: str, lexicons: Mapping[str, Lexicon]) -> str:
    """A text of a language word by word in English; English text stays as it is.

    >>> german = Lexicon.from_pairs("de", "en", [("der", "the"), ("rote", "red"), ("fuchs", "fox")])
    >>> translate("Der rote Fuchs läuft.", "de", {"de": german})
    'The red Fox läuft.'

    Raises:
        CslabError: for a language without a lexicon.
    """
    if code == ENGLISH:
        return text
    if code not in lexicons:
        raise CslabError(
            f"Translate-Test: no lexicon from '{code}' into English; it has {', '.join(lexicons) or 'none'}"
        )
    lexicon = lexicons[code]
    policy = Policy("Translate-Test", 1.0, 1.0, (ENGLISH,), source=code, longest=max(1, min(LONGEST, lexicon.longest)))
    return switcher({ENGLISH: lexicon}, policy).text(text, Key(), "query")
