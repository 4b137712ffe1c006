"""What an encoder is that is used as it is: a dual encoder, which scores by cosine, or a cross-encoder, by its logit.

Reads the configuration of a folder or hub id; writes nothing.

    kind_of("minilm")               # "dual"
    kind_of("outputs/demo/models/ml-cs-s1/model")        # "cross"
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cslab.ranking.cross_encoder import cannot_load, hub_path
from cslab.ranking.sentence_recipe import NAMED
from cslab.store import CslabError

if TYPE_CHECKING:
    from cslab.choices import EncoderChoice

Kind = Literal["dual", "cross"]
HEAD = "ForSequenceClassification"


def chosen(choice: "EncoderChoice") -> tuple[Kind, str]:
    """Kind and name of an encoder that a profile names.

    Raises:
        CslabError: where neither the profile nor the files tell the kind, or a cross-encoder has no trained head.
    """
    if choice.dual_encoder:
        return "dual", choice.dual_encoder
    if choice.cross_encoder:
        if kind_of(choice.cross_encoder) != "cross":
            raise CslabError(
                f"encoder '{choice.cross_encoder}': no trained head with one label, so no cross-encoder; "
                "take it as a dual encoder, or name another"
            )
        return "cross", choice.cross_encoder
    return kind_of(choice.name), choice.name


def kind_of(name: str) -> Kind:
    """What the files of an encoder say it is: a trained head with one label, or a recipe of sentence-transformers.

    Raises:
        CslabError: for an encoder that cannot be reached, one with several labels, or one with neither.
    """
    from transformers import AutoConfig
    from transformers.utils.hub import cached_file

    from cslab.ranking.dual_encoder import RECORD

    if name in NAMED:
        return "dual"
    path = hub_path(name)
    if (Path(path) / RECORD).is_file():
        return "dual"
    try:
        config = AutoConfig.from_pretrained(path)
        lenient = ("missing_entries", "connection_errors")
        recipe = cached_file(path, "modules.json", **{f"_raise_exceptions_for_{what}": False for what in lenient})
    except Exception as error:  # transformers, the hub's client and JSON have no common class
        raise cannot_load("encoder", name, error) from None
    if any(str(kind).endswith(HEAD) for kind in config.architectures or ()):
        if config.num_labels == 1:
            return "cross"
        raise CslabError(f"encoder '{name}': its head has {config.num_labels} labels; a reranker has one")
    if recipe:
        return "dual"
    raise CslabError(
        f"encoder '{name}': it has neither a trained head nor a recipe of sentence-transformers; say "
        f"{{dual_encoder: {name}}} to score by the cosine of its mean vectors"
    )
