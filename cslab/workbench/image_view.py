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
from cslab.image_text import ImageLab, ImageSystem, Task
from cslab.store import CslabError
from cslab.workbench import html
from cslab.workbench.explorer import Explorer, field, shorten
from cslab.workbench.imports import quick_schemas
from cslab.workbench.style import PALETTE, escape, language_name

with quick_schemas():
    import altair as alt

ATTRIBUTES = ("thing", "colour", "number", "place")
BINDING = "what goes with what"


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
        mark = ' <span class="cs-tag">right</span>' if hit else ""
        shown = image_html(draw(scenes[image]), caption(scenes[image], lang))
        cells.append(
            f'<figure style="margin:0;border:{edge};border-radius:4px">{shown}'
            f'<figcaption class="cs-muted">{rank}. {score:.2f}{mark}</figcaption></figure>'
        )
    body = f'<div style="display:flex;flex-wrap:wrap;gap:.4em">{"".join(cells)}</div>'
    return html.stack(f'<div class="cslab">{body}</div>')


def scene_html(scene: Scene, codes: Sequence[str]) -> str:
    """A scene with its caption in some languages."""
    rows = "".join(
        f"<tr><th>{escape(language_name(code))}</th><td>{html.text_html(caption(scene, code), code)}</td></tr>"
        for code in codes
    )
    shown = image_html(draw(scene), caption(scene, "en"), zoom=3)
    return html.columns({"": shown, "captions": f"<table>{rows}</table>"})


class CaptionSearch(Explorer):
    """A query in any language, one's own too, and the images that two models find for it."""

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
            task: whose images are searched; it must have pictures.
            systems: to choose from; the first and the last are shown at first.
            examples: (language, caption, image) to pick from.
            k: images shown.
        """
        if task.pictures is None or not systems or not examples:
            raise CslabError("CaptionSearch: give a task with pictures, at least one system and one example")
        self.lab, self.task, self.k, self.examples = lab, task, k, list(examples)
        self.systems = {system.name: system for system in systems}
        picks = [(f"{code} · {shorten(text)}", i) for i, (code, text, _) in enumerate(examples)]
        self.example = field(w.Dropdown, "example", 0, "40rem", options=picks, label_width="5rem")
        self.text = field(w.Text, "query", examples[0][1], "40rem", continuous_update=False, label_width="5rem")
        names = list(self.systems)
        self.first = field(w.Dropdown, "model", names[0], "18rem", options=names)
        self.second = field(w.Dropdown, "beside it", names[-1], "18rem", options=names)
        super().__init__([[self.example], [self.text], [self.first, self.second]])

    def react(self, control: w.Widget) -> None:
        """An example brings its caption."""
        if control is self.example:
            self.text.value = self.examples[control.value][1]

    def render(self) -> str:
        """The images that each model finds."""
        if not self.text.value.strip():
            return html.note_html("write a query, e.g. two red balls on the left")
        _, text, image = self.examples[self.example.value]
        right = image if self.text.value == text else ""
        shown = {}
        for name in dict.fromkeys((self.first.value, self.second.value)):
            found = self.lab.search(self.systems[name], self.task, [self.text.value], self.k)[0]
            shown[name] = grid_html(found, self.task.pictures, right)
        return html.columns(shown)

    def settings(self) -> str:
        """The query and the models."""
        return f"“{self.text.value}”, {self.first.value} and {self.second.value}"


# --- by language ---------------------------------------------------------------------------------------------


def recall_bars(table: pd.DataFrame, codes: Sequence[str], setting: str = "scenes") -> alt.TopLevelMixin:
    """R@1 of captions that ask for images, by language and system, with 95 % bootstrap intervals.

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
    base = alt.Chart(rows, width=alt.Step(13), height=220).encode(
        x=alt.X("system:N", sort=systems, title=None, axis=None), tooltip=list(rows.columns)
    )
    bars = base.mark_bar().encode(
        y=alt.Y("value:Q", title="R@1 × 100", scale=alt.Scale(domain=[0, 100])),
        color=alt.Color("system:N", sort=systems, scale=alt.Scale(domain=systems, range=tones), title=None),
    )
    lines = base.mark_rule().encode(y="low:Q", y2="high:Q")
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
