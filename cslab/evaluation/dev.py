"""Evaluation on dev tasks while a ranker is trained.

evaluate = dev_evaluation({"en-de": make_task(dev, "en", "de")}, measure="MRR@10", max_length=64)
train(encoder, pairs, texts, settings, folder, evaluate=evaluate)
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task

if TYPE_CHECKING:
    from cslab.ranking.cross_encoder import Encoder


def dev_evaluation(
    tasks: Mapping[str, Task], measure: str = "MRR@10", max_length: int | None = None, precision: str = "fp32"
) -> "Callable[[Encoder], dict[str, float]]":
    """A function of an encoder that re-ranks every task and gives its measure x 100; several processes share the work.

    Args:
        tasks: what to re-rank, by language pair.
        measure: as `score_run` knows them.
        max_length: tokens of a pair (default: the encoder's).
        precision: "auto", "fp32" or "bf16".
    """

    def evaluate(encoder: "Encoder") -> dict[str, float]:
        from cslab.ranking.rerank import rerank_all

        runs = rerank_all(encoder, tasks, "dev", max_length=max_length, precision=precision)
        scores = {
            pair: score_run(run, tasks[pair].qrels, "dev", 0, [measure], tasks[pair].queries)
            for pair, run in runs.items()
        }
        return {pair: 100 * float(found["value"].mean()) for pair, found in scores.items()}

    return evaluate
