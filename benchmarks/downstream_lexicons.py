"""What a lexicon is worth down-stream: CLIR on the atlas by the lexicon that ML-CS switches with.

    python benchmarks/downstream_lexicons.py            # about ten minutes on two cores; stages are kept in outputs/

The same pairs, steps and seed with the gold lexicon, one induced by plain nearest neighbours, one by refined CSLS (both
from 250 seed words and the atlas's monolingual text), and parallel names alone. N-grams up to three words may switch,
so that names can. Evaluated on the dev split.
"""

import argparse
from dataclasses import replace

import pandas as pd

from cslab.collections.atlas import atlas_lexicon
from cslab.evaluation.measures import by_pair, score_run, to_markdown
from cslab.lexicon.quality import evaluate
from cslab.stages import Lab, open_lab

PAIRS = ("en-en", "en-de", "en-it", "en-ar", "en-ru", "de-nl", "ar-it")
SOURCES = {
    "gold": ["lexicon.source=atlas"],
    "induced, CSLS": ["lexicon.source=induced", "lexicon.retrieval=csls", "lexicon.refine=true"],
    "induced, NN": ["lexicon.source=induced", "lexicon.retrieval=nn", "lexicon.refine=false"],
    "names": ["lexicon.source=atlas-titles"],
}


def lab_of(name: str, settings: list[str], sentences: int, steps: int) -> Lab:
    """The atlas with another lexicon, on the dev split."""
    common = [f"lexicon.sentences={sentences}", f"training.steps={steps}", "conditions=[ML-CS]"]
    common.append(f"name=downstream-{name.replace(', ', '-').replace(' ', '-').lower()}")
    chosen = ["collection.split=dev", "collection.passages=850", "collection.queries=200"]
    return open_lab("atlas", [*settings, *common, *chosen, f"evaluation.pairs=[{', '.join(PAIRS)}]"])


def main() -> None:
    """Trains and prints the table, then `figure` lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=40_000, help="monolingual sentences per language")
    parser.add_argument("--steps", type=int, default=250)
    options = parser.parse_args()
    rows = {}
    for name, settings in SOURCES.items():
        lab = lab_of(name, settings, options.sentences, options.steps)
        found = [
            evaluate(lexicon, atlas_lexicon(code)).summary["P@1 (all)"] for code, lexicon in lab.lexicons().items()
        ]
        plain = next(lab.systems())
        system = replace(plain, condition=replace(plain.condition, policy=replace(plain.condition.policy, longest=3)))
        parts = [score_run(run, lab.task(pair).qrels, name, 1, ("MRR@10",)) for pair, run in lab.runs(system).items()]
        values = by_pair(pd.concat(parts)).set_index("pair")
        clir = values.loc[values["setting"] == "CLIR", "value"].mean()
        row = {"P@1": 100 * sum(found) / len(found), "MoIR": values.loc["en-en", "value"], "CLIR": clir}
        rows[name] = {key: round(float(value), 1) for key, value in row.items()}
        print(f"{name}: {rows[name]}", flush=True)
    print(to_markdown(pd.DataFrame(rows).T.rename_axis("lexicon")))
    for name, better, worse in (("gold-over-names", "gold", "names"), ("csls-over-nn", "induced, CSLS", "induced, NN")):
        gain = rows[better]["CLIR"] - rows[worse]["CLIR"]
        print(f"figure {name} {gain:.1f} >0 {'holds' if gain > 0 else 'short'}")


if __name__ == "__main__":
    main()
