"""Filters of the error explorer: sliders and lists over the columns of a table of cases.

filters = Filters()
filters.fit(table)               # ranges and choices follow the table
filters.apply(table)             # the rows that are let through
filters.box                      # the controls, folded away
"""

import ipywidgets as w
import pandas as pd

from cslab.workbench.cases import FOUND, MISSED, MISSES, with_cause
from cslab.workbench.explorer import field, folded
from cslab.workbench.style import language_name

ANY = "any"
SHARES = {"overlap": "words shared", "coverage": "lexicon coverage"}
COUNTS = {"words": "words of the query", "stage": "first-stage rank"}


class Filters:
    """Controls whose values say which queries are listed."""

    def __init__(self) -> None:
        self.cause = field(w.Dropdown, "outcome", ANY, "19rem", options=[ANY, FOUND, MISSED, *MISSES])
        self.which = field(w.Dropdown, "of", "second", "9rem", options=["first", "second"])
        self.answer = field(w.Dropdown, "language of the answer", ANY, "19rem", options=[ANY])
        shares = {"min": 0.0, "max": 1.0, "step": 0.05, "readout_format": ".2f", "continuous_update": False}
        self.sliders = {
            name: field(w.FloatRangeSlider, label, (0.0, 1.0), "24rem", **shares) for name, label in SHARES.items()
        }
        for name, label in COUNTS.items():
            self.sliders[name] = field(w.IntRangeSlider, label, (0, 1), "24rem", min=0, max=1, continuous_update=False)
        rows = [self.cause, self.which, self.answer, *self.sliders.values()]
        inner = w.HBox(rows, layout=w.Layout(flex_flow="row wrap", align_items="center"))
        self.box = folded("Filters", inner)

    def fit(self, table: pd.DataFrame) -> None:
        """Sets the ranges and choices to what the table has, and lets every row through."""
        for name in COUNTS:
            values = table[name].dropna()
            low, high = (int(values.min()), int(values.max())) if len(values) else (0, 1)
            slider = self.sliders[name]
            slider.min, slider.max = min(low, slider.min), max(high, slider.max)
            slider.value = (low, high)
            slider.min, slider.max = low, high
        for name in SHARES:
            self.sliders[name].value = (0.0, 1.0)
        answers = sorted(set(table["answer"]))
        self.answer.options = [(ANY, ANY), *((language_name(code), code) for code in answers)]
        self.answer.value, self.cause.value = ANY, ANY
        self.answer.disabled = len(answers) < 2

    def apply(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows that are let through; a query that the first stage missed has no rank there to be outside of."""
        for name, slider in self.sliders.items():
            low, high = slider.value
            if name in SHARES or (low, high) != (slider.min, slider.max):
                table = table[table[name].between(low, high).fillna(False)]
        if self.answer.value != ANY:
            table = table[table["answer"] == self.answer.value]
        return table if self.cause.value == ANY else with_cause(table, self.which.value, self.cause.value)

    def words(self) -> str:
        """The filters that are set, in words; empty if none is."""
        found = [] if self.cause.value == ANY else [f"{self.which.value}: {self.cause.value}"]
        if self.answer.value != ANY:
            found.append(f"answer in {language_name(self.answer.value)}")
        for slider in self.sliders.values():
            if slider.value != (slider.min, slider.max):
                low, high = slider.value
                found.append(f"{slider.description} {low:g} to {high:g}")
        return ", ".join(found)
