"""What if the query were another: an edited or switched text, and the candidates scored again by the models at hand.

    whatif = WhatIf(experiment)
    whatif.ask("Where is the fox?", "en", "q1")
    whatif.policy.value = "ML-CS"                         # what the control of the widget does
    whatif.scored(task, "q1", runs, whatif.switch("Where is the fox?", "q1", "ML-CS"))

The last are runs with new scores for that one query; the first stage is not asked again.
"""

from collections.abc import Mapping
from dataclasses import replace

import ipywidgets as w

from cslab.collections.trec import Run
from cslab.evaluation.settings import Task
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching.draw import Key
from cslab.switching.policy import policy_named
from cslab.switching.switch import Switched, switch
from cslab.workbench import html
from cslab.workbench.cases import Experiment
from cslab.workbench.explorer import field, folded
from cslab.workbench.widgets import usable_policies

AS_ASKED = "as asked"


class WhatIf:
    """A text field for the query, a policy that switches it, and the scores that follow."""

    def __init__(self, experiment: Experiment) -> None:
        """Args: `experiment`, whose models score; without models nothing can be edited."""
        self.experiment = experiment
        self.source = experiment.links.source
        names = _policies(experiment.lexicons, self.source) if experiment.lexicons else []
        self.edit = field(w.Textarea, "query", "", "100%", rows=2, continuous_update=False, label_width="4rem")
        self.policy = field(w.Dropdown, "switch it by", AS_ASKED, "18rem", options=[AS_ASKED, *names])
        self.seed = field(w.BoundedIntText, "draw", 1, "9rem", min=0, max=10**6)
        self.controls = (self.edit, self.policy, self.seed)
        self.asked, self.qid = "", ""
        self.switched: Switched | None = None
        row = w.HBox([self.policy, self.seed], layout=w.Layout(flex_flow="row wrap"))
        lacking = w.HTML("There are no models to score with here.")
        inner = w.VBox([self.edit, row] if experiment.encoder else [lacking])
        self.box = folded("What if the query were another?", inner)

    @property
    def change(self) -> Switched | None:
        """The query in the field, with its spans where a policy has switched it; None if it is as asked."""
        if self.experiment.encoder is None or self.edit.value.strip() == self.asked.strip():
            return None
        return self.switched or Switched(self.edit.value)

    def offers(self, language: str) -> list[str]:
        """The policies that can switch a query of a language."""
        return list(self.policy.options[1:]) if self.experiment.encoder and language == self.source else []

    def ask(self, text: str, language: str, qid: str) -> None:
        """Takes a query as it was asked."""
        self.asked, self.qid, self.switched = text, qid, None
        self.edit.value, self.policy.value = text, AS_ASKED
        self.policy.disabled = self.seed.disabled = language != self.source

    def react(self, control: w.Widget) -> None:
        """A policy or another draw switches the query as it was asked; typing ends that."""
        if control is self.edit:
            self.switched, self.policy.value = None, AS_ASKED
            return
        name = self.policy.value
        self.switched = None if name == AS_ASKED else self.switch(self.asked, self.qid, name, self.seed.value)
        self.edit.value = self.switched.text if self.switched else self.asked

    def switch(self, text: str, qid: str, name: str, seed: int = 1) -> Switched:
        """A query as a policy switches it, into all languages of the lexicons where it has none of its own."""
        policy = policy_named(name)
        if not policy.name.startswith("BL-CS") and set(policy.languages) != {self.source}:
            kept = [self.source] if self.source in policy.languages else []
            policy = replace(policy, languages=(*kept, *(c for c in self.experiment.lexicons if c != self.source)))
        return switch(text, self.experiment.lexicons, policy, Key(seed, 0, qid), "query")

    def scored(self, task: Task, qid: str, runs: Mapping[str, Run], change: Switched) -> dict[str, Run]:
        """The runs with the candidates of one query scored for another text; others than rankers are not asked again.

        Raises:
            CslabError: for an empty text.
        """
        if not change.text.strip():
            raise CslabError("the query is empty; type one, or pick another query")
        models = {name: run for name, run in runs.items() if name not in self.experiment.kept}
        keys = {name: ("what if", task.pair, name, qid, change.text) for name in models}
        made = {
            name: self.experiment.once(keys[name], lambda n=name, r=run: self._score(task, qid, n, r, change.text))
            for name, run in models.items()
        }
        return {**runs, **made}

    def _score(self, task: Task, qid: str, system: str, run: Run, text: str) -> Run:
        from cslab.ranking.cross_encoder import score_pairs

        dids = list(run.scores[qid])
        asked = replace(task, queries={qid: text}, candidates=replace(run, scores={qid: run.scores[qid]}))
        if self.experiment.read is not None:
            asked = self.experiment.read(task.pair, system, asked)
        texts = [(asked.queries[qid], asked.documents[did]) for did in dids]
        encoder, settings = self.experiment.encoder(task.pair, system), self.experiment
        found = score_pairs(encoder, texts, settings.max_length, precision=settings.precision)
        return replace(run, scores={qid: dict(zip(dids, found.tolist(), strict=True))})

    def told(self, task: Task, qid: str, before: Mapping[str, Run], after: Mapping[str, Run]) -> str:
        """What the change did to the rank of the relevant document, by system."""
        parts = []
        for name, run in after.items():
            ranks = [_first(task, each, qid) for each in (before[name], run)]
            kept = " (not asked again)" if name in self.experiment.kept else ""
            parts.append(f"{name}: rank {' → '.join(ranks)} of the relevant document{kept}")
        return html.note_html(f"Scored again for the edited query. {'; '.join(parts)}.")


def _policies(lexicons: Mapping[str, Lexicon], source: str) -> list[str]:
    """The published policies that switch queries, and BL-CS into each language."""
    named = [name for name in usable_policies(lexicons, source) if policy_named(name).rate("query")]
    return [*named, *(f"BL-CS {code}-{source}" for code in lexicons if code != source)]


def _first(task: Task, run: Run, qid: str) -> str:
    judged = task.qrels.get(qid, {})
    return next((str(r) for r, did in enumerate(run.ranking(qid), 1) if judged.get(did, 0) > 0), "–")
