"""Views as HTML strings: switched text, translations, tables, bars, notes.

Pure functions from records to text: no script, no address of another host, everything escaped. Each view is what a
widget shows and what a headless run keeps (its static twin). A colour never stands alone: every switched word also
carries the code of its language. Text knows its language and direction.

    from IPython.display import HTML
    HTML(switched_html(switch(text, lexicons, policy, key, "query"), source="en"))
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from cslab.languages import LANGUAGES
from cslab.workbench.style import STYLE, colour, escape, language_name

if TYPE_CHECKING:
    from cslab.lexicon.lexicon import Lexicon
    from cslab.switching.switch import Switched


def _direction(code: str) -> str:
    return LANGUAGES[code].direction if code in LANGUAGES else "auto"


def lang_attributes(code: str) -> str:
    """Attributes of an element that holds text of a language (of any language for a pool)."""
    return f'lang="{escape(code)}" dir="{_direction(code)}"' if code in LANGUAGES else 'dir="auto"'


def text_html(text: str, code: str) -> str:
    """A text as an inline element that knows its language and direction.

    >>> text_html("كلب <1>", "ar")
    '<bdi lang="ar" dir="rtl">كلب &lt;1&gt;</bdi>'
    """
    return f"<bdi {lang_attributes(code)}>{escape(text)}</bdi>"


def _wrap(body: str, extra: str = "") -> str:
    return f'{STYLE}<div class="cslab{extra}">{body}</div>'


def bare(view: str) -> str:
    """A view without its style sheet, for putting several on one page that has it already."""
    return view.replace(STYLE, "")


def columns(views: Mapping[str, str]) -> str:
    """Views side by side under their titles; below one another where there is no room.

    Args:
        views: title → HTML of a function of this module.
    """
    cells = (f'<div><div class="cs-head">{escape(title)}</div>{bare(view)}</div>' for title, view in views.items())
    return _wrap(f'<div class="cs-columns">{"".join(cells)}</div>')


def stack(*views: str) -> str:
    """Views one below the other."""
    return _wrap("".join(map(bare, views)))


def note_html(text: str, kind: str = "info") -> str:
    """A remark in a box: `info`, `warning` or `error`."""
    return _wrap(f'<div class="cs-note cs-{escape(kind)}" role="note">{escape(text)}</div>')


# --- switched text -------------------------------------------------------------------------------------------


def _tint(code: str) -> str:
    return f"background-color:{colour(code)}2e;border-bottom:2px solid {colour(code)}"


def _span(span, text: str) -> str:
    hover = f"{span.source} → {span.target} · {language_name(span.language)} · score {span.score:.3g} · {span.method}"
    code = escape(span.language)
    return (
        f'<span class="cs-s" style="{_tint(span.language)}" data-code="{code}" title="{escape(hover)}">'
        f"{text_html(text, span.language)}</span>"
    )


def legend_html(codes: Sequence[str], counts: Mapping[str, int] | None = None) -> str:
    """Which colour is which language, with how many words were switched to it where counts are given."""
    items = []
    for code in codes:
        count = f" {counts[code]}" if counts and code in counts else ""
        swatch = f'<span class="cs-swatch" style="background-color:{colour(code)}"></span>'
        items.append(f"<span>{swatch}{escape(language_name(code))} ({escape(code)}){count}</span>")
    return f'<div class="cs-key">{"".join(items)}</div>' if items else ""


def switched_html(switched: "Switched", source: str = "en", title: str = "", legend: bool = True) -> str:
    """A switched text, each switched word in the colour of its language with source, score and lexicon on hover.

    Args:
        switched: the text and its spans.
        source: language of the text before switching.
        title: a line above it.
        legend: whether to say below which colour is which language.
    """
    pieces, position, counts = [], 0, {}
    for span in switched.spans:
        pieces += escape(switched.text[position : span.start]), _span(span, switched.text[span.start : span.end])
        position = span.end
        counts[span.language] = counts.get(span.language, 0) + 1
    pieces.append(escape(switched.text[position:]))
    head = f'<div class="cs-head">{escape(title)}</div>' if title else ""
    key = legend_html(sorted(counts), counts) if legend else ""
    if legend and not counts:
        key = '<div class="cs-muted">nothing switched</div>'
    return _wrap(f'{head}<div class="cs-text" {lang_attributes(source)}>{"".join(pieces)}</div>{key}')


def bars_html(rows: Sequence[tuple[str, float, str]], caption: str = "") -> str:
    """Shares between 0 and 1 as labelled bars.

    Args:
        rows: (label, share, colour) in order.
        caption: what the shares are of.
    """
    body = "".join(
        f'<tr><td>{escape(label)}</td><td><span class="cs-bar"><i style="width:{100 * min(max(share, 0), 1):.1f}%;'
        f'background-color:{escape(tone)}"></i></span></td><td class="cs-n">{100 * share:.1f} %</td></tr>'
        for label, share, tone in rows
    )
    head = f"<caption>{escape(caption)}</caption>" if caption else ""
    return _wrap(f"<table>{head}<tbody>{body}</tbody></table>")


# --- translations and tables ---------------------------------------------------------------------------------


def lexicon_html(
    word: str,
    lexicons: Mapping[str, "Lexicon"],
    neighbours: Mapping[str, Sequence[tuple[str, float]]] | None = None,
    source: str = "en",
    top: int = 10,
) -> str:
    """Translations of a word in several languages, best first, with score and source; neighbours where given.

    Args:
        word: a word or n-gram.
        lexicons: target language → lexicon.
        neighbours: language → (word, similarity), nearest first.
        source: language of the word.
        top: translations shown per language.
    """
    rows = []
    for code, lexicon in lexicons.items():
        found = lexicon.get(word, ())[:top]
        shown = ", ".join(
            f'{text_html(t.text, code)} <span class="cs-muted">{t.score:.3g} {escape(t.method)}</span>' for t in found
        )
        mark = f'<span class="cs-swatch" style="background-color:{colour(code)}"></span>'
        empty = '<span class="cs-muted">no entry</span>'
        rows.append(f"<tr><td>{mark}{escape(language_name(code))}</td><td>{shown or empty}</td></tr>")
    head = "<tr><th>language</th><th>translations</th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    near = ""
    for code, listed in (neighbours or {}).items():
        items = ", ".join(f'{text_html(w, code)} <span class="cs-muted">{s:.2f}</span>' for w, s in listed)
        near += f"<tr><td>{escape(language_name(code))}</td><td>{items or '–'}</td></tr>"
    if near:
        near = f"<table><caption>nearest words</caption><tbody>{near}</tbody></table>"
    return _wrap(f'<div class="cs-head">{text_html(word, source)}</div>{table}{near}')


def _cell(value: object, digits: int, best: bool, deviation: float | None = None) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        missing = value is None or (isinstance(value, float) and value != value)
        return f'<td dir="auto">{"–" if missing else escape(value)}</td>'
    shown = "–" if value != value else f"{value:,.{digits}f}" if isinstance(value, float) else f"{value:,}"
    shown += "" if deviation is None or deviation != deviation else f" ± {deviation:.{digits}f}"
    return f'<td class="cs-n{" cs-best" if best else ""}">{shown}</td>'


def table_html(
    frame: pd.DataFrame,
    caption: str = "",
    digits: int = 1,
    index: bool | None = None,
    best: bool = False,
    deviations: pd.DataFrame | None = None,
) -> str:
    """A frame as a table with aligned numbers.

    Args:
        frame: what to show.
        caption: its title.
        digits: decimals of floating numbers.
        index: whether to show the index (default: if it has a meaning, i.e. is no plain count).
        best: print the greatest value of each numeric column in bold.
        deviations: a frame of the same rows; what it has for a cell follows that cell as `± 0.3`.
    """
    index = not isinstance(frame.index, pd.RangeIndex) if index is None else index
    shown = frame.reset_index() if index else frame
    shown = shown.rename(columns={"index": ""}) if index and frame.index.name is None else shown
    numeric = [pd.api.types.is_numeric_dtype(t) and not pd.api.types.is_bool_dtype(t) for t in shown.dtypes]
    top = [shown.iloc[:, i].max() if best and number else None for i, number in enumerate(numeric)]
    head = "".join(
        f'<th scope="col"{" class=cs-n" if number else ""}>{escape(name)}</th>'
        for name, number in zip(shown.columns, numeric, strict=True)
    )
    beside = pd.DataFrame(index=frame.index) if deviations is None else deviations.select_dtypes("number")
    spread = beside.reindex(index=frame.index, columns=shown.columns).to_numpy(float)
    body = "".join(
        "<tr>"
        + "".join(_cell(v, digits, t is not None and v == t, d) for v, t, d in zip(row, top, more, strict=True))
        + "</tr>"
        for row, more in zip(shown.astype(object).to_numpy().tolist(), spread.tolist(), strict=True)
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return _wrap(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
