"""Images and captions to look at: grids of found images, search in any language, recall by language, failures.

Pure functions to HTML and charts, and one widget with its static twin. Pictures are part of the HTML (PNG in data
addresses), so a saved notebook shows them anywhere.

    show(CaptionSearch(lab, task, systems, examples=[("en", "Two red balls on the left.")]))
"""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence

import ipywidgets as w
import numpy as np
import pandas as pd

from cslab.collections.scene_pictures import draw, png
from cslab.collections.scenes import Scene, caption
from cslab.image_data import Task
from cslab.image_text import ImageLab, ImageSystem
from cslab.store import CslabError
from cslab.training.caption_conditions import SOURCE
from cslab.workbench import html
from cslab.workbench.explorer import Explorer, field, shorten
from cslab.workbench.imports import quick_schemas
from cslab.workbench.style import PALETTE, escape, language_name

with quick_schemas():
    import altair as alt

ATTRIBUTES = ("thing", "colour", "number", "place")
BINDING = "combination"


def image_html(picture: np.ndarray, text: str, zoom: int = 2) -> str:
    """A picture as an inline element; `text` is its alternative for readers who do not see it."""
    data = base64.b64encode(png(picture, zoom)).decode()
    height, width = (zoom * size for size in picture.shape[:2])
    return f'<img src="data:image/png;base64,{data}" width="{width}" height="{height}" alt="{escape(text)}">'


def grid_html(
    found: Sequence[tuple[str, float]], scenes: Mapping[str, Scene], right: str = "", lang: str = "en"
) -> str:
    """Found images in a row that breaks where there is no room: rank, cosine, and a mark on the right one.

    Args:
        found: (image, score), best first.
        scenes: image → scene.
        right: the image that was asked for, if it is known.
        lang: of the descriptions that screen readers say.
    """
    cells = []
    for rank, (image, score) in enumerate(found, start=1):
        hit = image == right
        edge = "3px solid #009E73" if hit else "3px solid transparent"
        shown = image_html(draw(scenes[image]), caption(scenes[image], lang))
        cells.append(
            f'<figure style="margin:0;border:{edge};border-radius:4px">{shown}'
            f'<figcaption class="cs-muted">{_rank(rank, score, hit)}</figcaption></figure>'
        )
    return _row(cells, ".4em")


def list_html(found: Sequence[tuple[str, float]], texts: Mapping[str, Sequence[str]], right: str = "") -> str:
    """Found captions one below the other, with the marks of `grid_html`.

    Args:
        found: (image, score), best first.
        texts: image → its English captions.
        right: the image whose caption was asked for, if it is known.
    """
    rows = "".join(
        f"<tr><td>{html.text_html(texts.get(image, (image,))[0], SOURCE)}</td>"
        f'<td class="cs-muted" style="white-space:nowrap">{_rank(rank, score, image == right)}</td></tr>'
        for rank, (image, score) in enumerate(found, start=1)
    )
    return html.stack(f'<div class="cslab"><table>{rows}</table></div>')


def found_html(task: Task, found: Sequence[tuple[str, float]], right: str = "") -> str:
    """What a model finds in a task: images, or English captions where there are none."""
    if task.pictures is None:
        return list_html(found, task.captions.texts[SOURCE], right)
    return grid_html(found, task.pictures, right)


def _rank(rank: int, score: float, hit: bool) -> str:
    return f"{rank}. {score:.2f}" + (' <span class="cs-tag">right</span>' if hit else "")


def _row(cells: Sequence[str], gap: str) -> str:
    body = f'<div style="display:flex;flex-wrap:wrap;gap:{gap};align-items:flex-start">{"".join(cells)}</div>'
    return html.stack(f'<div class="cslab">{body}</div>')


def item_html(task: Task, image: str, codes: Sequence[str]) -> str:
    """An image, where there are images, with a caption of it in some languages."""
    rows = "".join(
        f"<tr><th>{escape(language_name(code))}</th><td>{_first(task, image, code)}</td></tr>"
        for code in codes if image in task.captions.texts.get(code, ())
    )  # fmt: skip
    return _row([*_pictures(task, [image], zoom=3), f"<table>{rows}</table>"], "1.2em")


def _first(task: Task, image: str, code: str) -> str:
    return html.text_html(task.captions.texts[code].get(image, (image,))[0], code)


def _pictures(task: Task, images: Sequence[str], zoom: int = 2) -> list[str]:
    scenes = [] if task.pictures is None else [task.pictures[image] for image in images]
    return [image_html(draw(scene), caption(scene, SOURCE), zoom) for scene in scenes]


class CaptionSearch(Explorer):
    """A query in any language, one's own too, and what two models find for it: images, or English captions."""

    def __init__(
        self,
        lab: ImageLab,
        task: Task,
        systems: Sequence[ImageSystem],
        examples: Sequence[tuple[str, str, str]],
        k: int = 8,
    ) -> None:
        """Builds the widget.

        Args:
            lab: whose models search.
            task: whose images (or English captions) are searched.
            systems: to choose from; the first two are shown at first.
            examples: (language, caption, image) to pick from.
            k: images shown.
        """
        if not systems or not examples:
            raise CslabError("CaptionSearch: give at least one system and one example")
        self.lab, self.task, self.k, self.examples = lab, task, k, list(examples)
        self.systems = {system.name: system for system in systems}
        picks = [(f"{code} · {shorten(text)}", i) for i, (code, text, _) in enumerate(examples)]
        self.example = field(w.Dropdown, "example", 0, "40rem", options=picks, label_width="5rem")
        self.text = field(w.Text, "query", examples[0][1], "40rem", continuous_update=False, label_width="5rem")
        names = list(self.systems)
        self.first = field(w.Dropdown, "model", names[0], "18rem", options=names)
        self.second = field(w.Dropdown, "beside it", names[:2][-1], "18rem", options=names)
        super().__init__([[self.example], [self.text], [self.first, self.second]])

    def react(self, control: w.Widget) -> None:
        """An example brings its caption."""
        if control is self.example:
            self.text.value = self.examples[control.value][1]

    def render(self) -> str:
        """The images that each model finds."""
        if not self.text.value.strip():
            return html.note_html("write a query, e.g. two red balls on the left")
        code, text, image = self.examples[self.example.value]
        known = self.text.value == text
        shown = {}
        for name in dict.fromkeys((self.first.value, self.second.value)):
            found = self.lab.search(self.systems[name], self.task, [self.text.value], self.k)[0]
            shown[name] = found_html(self.task, found, image if known else "")
        asked = {"asked for": item_html(self.task, image, list(dict.fromkeys((code, SOURCE))))} if known else {}
        return html.stack(*[html.columns(part) for part in (asked, shown) if part])

    def settings(self) -> str:
        """The query and the models."""
        return f"“{self.text.value}”, {self.first.value} and {self.second.value}"


def telling_examples(
    lab: ImageLab, systems: Sequence[ImageSystem], task: Task, codes: Sequence[str], count: int = 8
) -> list[tuple[str, str, str]]:
    """Examples for `CaptionSearch`; those come first that the second system answers and the first does not.

    Args:
        lab: whose models search.
        systems: at least one; the first two are compared.
        task: what is searched.
        codes: languages.
        count: images whose first captions are taken.
    """
    images = list(task.captions.texts[codes[0]])[:count]
    examples = [(code, task.captions.texts[code][image][0], image) for image in images for code in codes]
    texts = [text for _, text, _ in examples]
    found = [[first[0][0] for first in lab.search(system, task, texts, k=1)] for system in systems[:2]]
    gain = {
        example: (found[-1][row] == example[2]) - (found[0][row] == example[2]) for row, example in enumerate(examples)
    }
    return sorted(examples, key=lambda example: -gain[example])


# --- by language ---------------------------------------------------------------------------------------------


def recall_bars(table: pd.DataFrame, codes: Sequence[str], setting: str = "scenes") -> alt.TopLevelMixin:
    """R@1 of captions that ask, by language and system, with 95 % bootstrap intervals.

    Args:
        table: of `recall_table`.
        codes: languages, in order.
        setting: the test.
    """
    rows = table[(table["setting"] == setting) & table["query_lang"].isin(codes)]
    if rows.empty:
        raise CslabError(f"no rows of '{setting}' in {', '.join(codes)}; check the languages")
    rows = rows.assign(value=rows["R@1"])[["system", "query_lang", "value", "low", "high"]]
    systems = list(dict.fromkeys(rows["system"]))
    tones = [PALETTE[i % len(PALETTE)] for i in range(len(systems))]
    # Systems stand in words beside their bars: there may be more of them than colours that can be told apart.
    base = alt.Chart(rows, width=72, height=alt.Step(18)).encode(
        y=alt.Y("system:N", sort=systems, title=None, axis=alt.Axis(labelLimit=220)), tooltip=list(rows.columns)
    )
    bars = base.mark_bar().encode(
        x=alt.X("value:Q", title=None, scale=alt.Scale(domain=[0, 100]), axis=alt.Axis(values=[0, 50, 100])),
        color=alt.Color("system:N", sort=systems, scale=alt.Scale(domain=systems, range=tones), legend=None),
    )
    lines = base.mark_rule().encode(x="low:Q", x2="high:Q")
    return alt.layer(bars, lines).facet(column=alt.Column("query_lang:N", sort=list(codes), title=None), spacing=6)


def differences(right: Scene, found: Scene) -> list[str]:
    """What a found scene has wrong: attributes whose values differ, or only their combination.

    >>> from cslab.collections.scenes import Group
    >>> a = Scene("a", (Group("ball", "red", 2, "left"), Group("key", "blue", 1, "top")))
    >>> b = Scene("b", (Group("ball", "blue", 2, "left"), Group("key", "red", 3, "top")))
    >>> differences(a, b), differences(a, a)
    (['number'], [])
    """
    wrong = [
        name for name in ATTRIBUTES
        if Counter(getattr(g, name) for g in right.groups) != Counter(getattr(g, name) for g in found.groups)
    ]  # fmt: skip
    return wrong or ([BINDING] if set(right.groups) != set(found.groups) else [])


def failures(lab: ImageLab, system: ImageSystem, task: Task, codes: Sequence[str], limit: int = 200) -> pd.DataFrame:
    """Shares of queries (×100) whose first image has an attribute wrong, by language.

    Args:
        lab: whose model searches.
        system: the model.
        task: with pictures.
        codes: languages.
        limit: images asked for, at most; each with its first caption.

    Returns:
        A row per language: `right`, then each attribute and the mere combination; a query can have several wrong.
    """
    images, rows = list(task.pictures)[:limit], {}
    for code in codes:
        texts = [task.captions.texts[code][image][0] for image in images]
        found = lab.search(system, task, texts, k=1)
        wrong = [differences(task.pictures[i], task.pictures[f[0][0]]) for i, f in zip(images, found, strict=True)]
        share = {name: 100 * np.mean([name in one for one in wrong]) for name in (*ATTRIBUTES, BINDING)}
        rows[code] = {"right": 100 * np.mean([not one for one in wrong])} | share
    return pd.DataFrame(rows).T


def misses_html(lab: ImageLab, system: ImageSystem, task: Task, codes: Sequence[str], limit: int = 100) -> str:
    """For each language the first caption that is answered wrongly: asked, wanted, found.

    Args:
        lab: whose model searches.
        system: the model.
        task: what it is tested on.
        codes: languages.
        limit: captions asked in each language, at most.
    """
    rows = []
    for code in codes:
        images = list(task.captions.texts[code])[:limit]
        found = lab.search(system, task, [task.captions.texts[code][image][0] for image in images], k=1)
        wrong = [(image, first[0][0]) for image, first in zip(images, found, strict=True) if first[0][0] != image]
        shown = [_side(task, image) for image in wrong[0]] if wrong else ["–", "–"]
        asked = _first(task, wrong[0][0], code) if wrong else "–"
        cells = (f"<th>{escape(language_name(code))}</th>", *(f"<td>{cell}</td>" for cell in (asked, *shown)))
        rows.append(f"<tr>{''.join(cells)}<td>{len(wrong)} of {len(images)}</td></tr>")
    head = "".join(f"<th>{name}</th>" for name in ("language", "asked", "wanted", "found first", "wrong"))
    return html.stack(f'<div class="cslab"><table><tr>{head}</tr>{"".join(rows)}</table></div>')


def _side(task: Task, image: str) -> str:
    """What stands for an image: the picture, or its English caption."""
    return "".join(_pictures(task, [image], zoom=1)) or _first(task, image, SOURCE)
