"""What the notebooks show besides charts and widgets: one question in every language, training pairs, the machine.

Pure functions over records; each returns HTML, or a frame that Jupyter shows as a table.

    HTML(parallel_html(collection, qid))
"""

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from cslab.collections.collection import Collection
from cslab.store import CslabError, nearest
from cslab.switching.draw import SIDES, Key, Side
from cslab.workbench.html import bare, columns, switched_html, text_html
from cslab.workbench.style import escape, language_name

if TYPE_CHECKING:
    from cslab.training.conditions import SourceTexts, TranslatedTexts


def parallel_html(collection: Collection, qid: str) -> str:
    """A query and its first relevant document in every language, side by side, each in its own direction.

    Raises:
        CslabError: if the collection has no such query.
    """
    codes = [code for code in collection.query_languages if qid in collection.queries[code]]
    if not codes:
        raise CslabError(f"{collection.name}: no query '{qid}'; {nearest(qid, list(collection.queries['en'])[:20])}")
    shown = {}
    for code in codes:
        relevant = [d for d, grade in collection.qrels.get(code, {}).get(qid, {}).items() if grade > 0]
        answer = text_html(collection.documents[code][relevant[0]], code) if relevant else "–"
        shown[f"{language_name(code)} ({code})"] = (
            f'<p class="cs-text"><b>{text_html(collection.queries[code][qid], code)}</b></p>'
            f'<p class="cs-text">{answer}</p>'
        )
    return columns(shown)


def training_pair_html(readers: Mapping[str, "SourceTexts | TranslatedTexts"], index: int = 0, epoch: int = 0) -> str:
    """The texts that rankers read for one and the same training pair, one above the other, switched words marked.

    Args:
        readers: name → what a ranker reads (`Lab.texts`).
        index: of the pair.
        epoch: whose draw is shown.
    """
    rows = ""
    for name, reader in readers.items():
        (named,), (texts,) = reader.named(epoch, [index]), reader(epoch, [index])
        cells = "".join(
            f"<td>{_as_read(reader, side, *about, text, epoch)}</td>"
            for side, about, text in zip(SIDES, named, texts, strict=True)
        )
        rows += f'<tr><th scope="row" class="cs-name">{escape(name)}</th>{cells}</tr>'
    head = "<tr><th></th><th>query</th><th>document</th></tr>"
    return columns({"": f"<table>{head}{rows}</table>"}) if rows else bare("")


def _as_read(reader: "SourceTexts | TranslatedTexts", side: Side, code: str, key: str, text: str, epoch: int) -> str:
    switcher = getattr(reader, "switcher", None)
    if switcher is None:
        return f'<div class="cs-text">{text_html(text, code)}</div>'
    original = reader.held(side)[code][key]
    return switched_html(switcher(original, Key(reader.seed, epoch, key), side), code, legend=False)


def machine() -> pd.DataFrame:
    """Versions and device of this run."""
    import accelerate
    import altair
    import datasets
    import torch
    import transformers

    from cslab import __version__

    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} thread{'s' * (threads > 1)}"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    found = {"cslab": __version__, "Python": platform.python_version(), "device": device}
    found |= {module.__name__: module.__version__ for module in (torch, transformers, datasets, accelerate, altair)}
    return pd.DataFrame(found.items(), columns=["what", "is"]).set_index("what")
