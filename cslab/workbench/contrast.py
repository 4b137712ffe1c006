"""Two rankings of one query as HTML: side by side, moves drawn, the words marked that give an answer away.

Pure functions from a task and runs to text, like those of `html`. A word that stands in query and document is bold; one
that translates a word of the query, as the lexicons know it, is underlined with dots and says of which on hover. The
relevant document carries the word, not only a colour, and each move its number, not only a line.

    HTML(contrast_html(task, qid, {"Zero-shot": first, "ML-CS": second}, Links(lexicons)))
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from cslab.collections.trec import Run
from cslab.evaluation.breakdown import CAUSES
from cslab.evaluation.settings import Task
from cslab.languages import LANGUAGES, MIXED, is_pool
from cslab.store import CslabError
from cslab.switching.record import Switched
from cslab.text import fold, longest_match, words
from cslab.workbench.html import bare, columns, lang_attributes, stack, switched_html, text_html
from cslab.workbench.links import Links, Match
from cslab.workbench.style import escape, language_name

HEIGHT, HEAD, WIDTH = 96, 50, 64  # pixels: of a row and of the head (as in the style sheet), of the gap with the lines
TONES = {"found": "#44AA99", "first stage missed": "#BBBBBB", "wrong language": "#E69F00", "wrong document": "#56B4E9"}
KEY = (
    '<div class="cs-key"><span><b>bold</b>: in query and document</span><span><span class="cs-link">dotted</span>: '
    "translated by the lexicons</span><span>▲▼ ranks gained or lost against the other system</span></div>"
)
MEANING = {
    "found": "the relevant document is among the first",
    "first stage missed": "no relevant document is among the candidates",
    "wrong language": "documents in other languages are preferred (pools only)",
    "wrong document": "another candidate, found by words of the same query, is preferred",
}


# --- texts ---------------------------------------------------------------------------------------------------


def marked(text: str, code: str, match: Match) -> str:
    """An escaped document with shared words bold and translations underlined."""
    vocabulary = {*match.shared, *match.linked}
    spaced = code not in LANGUAGES or LANGUAGES[code].spaced
    pieces, position = [], 0
    for word in words(text, None if spaced else longest_match(vocabulary)):
        key = fold(word.text)
        if key in vocabulary:
            pieces += escape(text[position : word.start]), _mark(word.text, key, match)
            position = word.end
    return "".join([*pieces, escape(text[position:])])


def _mark(word: str, key: str, match: Match) -> str:
    if key in match.shared:
        return f"<b>{escape(word)}</b>"
    hover = f"lexicon: {', '.join(match.linked[key])} → {word}"
    return f'<span class="cs-link" title="{escape(hover)}">{escape(word)}</span>'


def query_html(text: str, code: str, links: Links, target: str) -> str:
    """A query with the words underlined that the lexicons translate into a language."""
    match = links.between(text, code, "", target)
    known = {fold(word): (target,) for word in match.covered}
    shown = marked(text, code, Match(frozenset(), known)) if known else escape(text)
    return f'<div class="cs-text" {lang_attributes(code)}>{shown}</div>'


# --- two rankings --------------------------------------------------------------------------------------------


def contrast_html(
    task: Task,
    qid: str,
    runs: Mapping[str, Run],
    links: Links,
    k: int = 5,
    facts: str = "",
    change: Switched | None = None,
) -> str:
    """A query and what two systems rank for it, with lines from rank to rank, and the texts that matter in full.

    Args:
        task: queries, documents and judgements.
        qid: a query of the task.
        runs: two runs by what they are called; one name alone is shown twice.
        links: the lexicons.
        k: documents shown of each.
        facts: a line about the query.
        change: what was asked instead of the task's query, if it was edited or switched.

    Raises:
        CslabError: if a run does not hold the query.
    """
    for run in runs.values():
        if qid not in run.scores:
            raise CslabError(f"run {run.name} holds no query '{qid}'; take one of task.queries")
    asked = task.queries[qid] if change is None else change.text
    sides = [(name, run, run.ranking(qid)) for name, run in runs.items()]
    sides = sides * 2 if len(sides) == 1 else sides
    shown = [_side(task, qid, asked, side, other[2], links, k) for side, other in zip(sides, sides[::-1], strict=True)]
    lines = _moves(sides[0][2], sides[1][2], task.qrels.get(qid, {}), k)
    grid = f'<div class="cs-contrast"><div>{shown[0]}{lines}{shown[1]}</div></div>'
    head = f'<span class="cs-muted">query {escape(qid)} · {language_name(task.query_lang)} → '
    head += f"{language_name(task.doc_lang)} · {task.setting}{' · ' + escape(facts) if facts else ''}</span>"
    target = _first_relevant(task, qid) if is_pool(task.doc_lang) else task.doc_lang
    full = in_full(task, qid, asked, [ranking[0] for _, _, ranking in sides if ranking], links)
    switched = change is not None and change.spans
    query = (
        switched_html(change, links.source)
        if switched
        else query_html(asked, task.language_of("query", qid), links, target)
    )
    return stack(head, query, grid, KEY, full)


def _first_relevant(task: Task, qid: str) -> str:
    found = next((did for did, grade in task.qrels.get(qid, {}).items() if grade > 0), None)
    return task.language_of("document", found) if found else MIXED


def _side(task: Task, qid: str, asked: str, side: tuple[str, Run, list[str]], other: list[str], links: Links, k: int):
    name, run, ranking = side
    judged, rows = task.qrels.get(qid, {}), []
    first = next((rank for rank, did in enumerate(ranking, 1) if judged.get(did, 0) > 0), None)
    told = f"relevant document at rank {first} of {len(ranking)}" if first else "the first stage missed the answer"
    before = {did: rank for rank, did in enumerate(other, 1)}
    for rank, did in enumerate(ranking[:k], 1):
        code, relevant = task.language_of("document", did), judged.get(did, 0) > 0
        match = links.between(asked, task.language_of("query", qid), task.documents[did], code)
        tag = '<bdi class="cs-tag">✓ relevant</bdi> ' if relevant else ""
        tag += f'<bdi class="cs-tag">{escape(code)}</bdi> ' if is_pool(task.doc_lang) else ""
        rows.append(
            f'<div class="cs-row{" cs-rel" if relevant else ""}" role="listitem"><span>{rank}'
            f'<br><span class="cs-muted">{_move(rank, before.get(did))}</span></span>'
            f'<div class="cs-doc" {lang_attributes(code)}>{tag}{marked(task.documents[did], code, match)}</div>'
            f'<span class="cs-n" title="score; document {escape(did)}">{run.scores[qid][did]:z.2f}</span></div>'
        )
    head = f'<div class="cs-top">{escape(name)}<span class="cs-muted">{told}</span></div>'
    return f'<div class="cs-side" role="list" aria-label="{escape(name)}">{head}{"".join(rows)}</div>'


def _move(rank: int, before: int | None) -> str:
    if before is None:
        return '<span title="not ranked by the other system">new</span>'
    if before == rank:
        return '<span title="same rank in the other system">=</span>'
    return f'<span title="rank {before} in the other system">{"▲" if before > rank else "▼"}{abs(before - rank)}</span>'


def _moves(left: Sequence[str], right: Sequence[str], judged: Mapping[str, int], k: int) -> str:
    """Curves from each document's rank on the left to its rank on the right; dashed where one is not shown."""
    places = [{did: rank for rank, did in enumerate(ranking)} for ranking in (left, right)]
    shown = max(len(left[:k]), len(right[:k]))
    bottom, half, paths = shown * HEIGHT, WIDTH // 2, []
    for did in dict.fromkeys([*left[:k], *right[:k]]):
        ends = [HEIGHT * place[did] + HEIGHT // 2 if place.get(did, k) < k else bottom for place in places]
        style = 'stroke="#009E73" stroke-width="3.5"' if judged.get(did, 0) > 0 else 'stroke-opacity=".4"'
        dashed = ' stroke-dasharray="4 4"' if bottom in ends else ""
        paths.append(f'<path {style}{dashed} d="M0 {ends[0]}C{half} {ends[0]} {half} {ends[1]} {WIDTH} {ends[1]}"/>')
    size = f'width="{WIDTH}" height="{bottom}" viewBox="0 0 {WIDTH} {bottom}"'
    return f'<svg class="cs-lines" {size} style="margin-top:{HEAD}px" aria-hidden="true">{"".join(paths)}</svg>'


def in_full(task: Task, qid: str, asked: str, dids: Sequence[str], links: Links) -> str:
    """The relevant documents and the given ones in full, folded away until opened."""
    relevant = [did for did, grade in task.qrels.get(qid, {}).items() if grade > 0 and did in task.documents]
    views = {}
    for did in dict.fromkeys([*relevant[:2], *dids]):
        code = task.language_of("document", did)
        match = links.between(asked, task.language_of("query", qid), task.documents[did], code)
        title = f"{'relevant' if did in relevant else 'ranked first'}: {did} ({language_name(code)})"
        telling = f"{len(match.shared)} shared, {len(match.linked)} linked by the lexicons, of {len(match.asked)}"
        body = f'<div class="cs-text" {lang_attributes(code)}>{marked(task.documents[did], code, match)}</div>'
        views[title] = f'{body}<div class="cs-muted">words of the query: {telling}</div>'
    return f"<details><summary>Relevant and first documents in full</summary>{bare(columns(views))}</details>"


# --- causes --------------------------------------------------------------------------------------------------


def causes_key() -> str:
    """What the colours of causes mean."""
    items = "".join(
        f'<span title="{escape(MEANING[cause])}"><span class="cs-swatch" style="background:{tone}"></span>'
        f"{cause}</span>"
        for cause, tone in TONES.items()
    )
    return f'<div class="cs-key">{items}</div>'


def causes_html(
    table: pd.DataFrame, caption: str, queries: Mapping[tuple[str, str], Sequence[tuple[str, str]]] | None = None
) -> str:
    """Shares of causes as one bar a language pair; under each, the queries of each miss, folded away.

    Args:
        table: `cases.cause_table`.
        caption: what is shown.
        queries: (pair, cause) → (text, language) of some of its queries.
    """
    rows = []
    for pair, counts in table.iterrows():
        total = max(1, int(counts.sum()))
        parts = "".join(
            f'<i style="width:{100 * n / total:.2f}%;background:{TONES[cause]}" title="{cause}: {n} of {total}">{n}</i>'
            for cause, n in counts.items()
            if n
        )
        said = ", ".join(f"{cause} {n}" for cause, n in counts.items() if n)
        listed = _listed(pair, counts, queries or {})
        bar = f'<span class="cs-stack" role="img" aria-label="{escape(said)}">{parts}</span>{listed}'
        rows.append(f'<tr><td class="cs-name">{escape(pair_name(str(pair)))}</td><td>{bar}</td></tr>')
    head = f"<caption>{escape(caption)}</caption>"
    return stack(f'<table class="cs-wide">{head}<tbody>{"".join(rows)}</tbody></table>', causes_key())


def _listed(pair: object, counts: pd.Series, queries: Mapping[tuple[str, str], Sequence[tuple[str, str]]]) -> str:
    parts = []
    for cause in CAUSES[1:]:
        texts = queries.get((str(pair), cause), ())
        items = "".join(f"<li>{text_html(text, code)}</li>" for text, code in texts)
        more = int(counts[cause]) - len(texts)
        rest = f'<li class="cs-muted">and {more} more</li>' if texts and more > 0 else ""
        parts.append(f"<div>{cause}</div><ul class=cs-list>{items}{rest}</ul>" if texts else "")
    return f"<details><summary>queries missed</summary>{''.join(parts)}</details>" if any(parts) else ""


def pair_name(pair: str) -> str:
    """A language pair in words.

    >>> pair_name("en-ar"), pair_name("xx-en")
    ('English → Arabic', 'many languages → English')
    """
    query, _, document = pair.partition("-")
    return f"{language_name(query)} → {language_name(document)}"
