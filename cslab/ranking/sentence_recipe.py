"""What sentence-transformers writes beside an encoder: how token vectors become one vector, and prefixes of texts.

Reads `modules.json`, `1_Pooling/config.json` and `config_sentence_transformers.json` of a folder or hub id; writes them
into a folder.

    write_sentence_recipe("folder", width=384, pooling="mean", longest=512, prompts=PROMPTS_OF_E5)
    read_pooling("folder"), read_prompts("folder")      # ("mean", {"query": "query: ", …})
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cslab.store import CslabError, read_json, write_json

NAMED = ("me5", "minilm")  # sentence encoders that go by a name
POOLINGS = ("mean", "cls")
PROMPTS_OF_E5 = {"query": "query: ", "document": "passage: "}
FILE = "config_sentence_transformers.json"
SIDES = {"query": ("query",), "document": ("document", "passage", "corpus")}  # as folders name them


def _part(encoder: str, name: str) -> Any:
    """What a file of a recipe holds; None where the folder or hub id has no such file."""
    from transformers.utils import cached_file

    path = cached_file(
        encoder, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False
    )
    return None if path is None else read_json(Path(path))


def read_pooling(encoder: str) -> str:
    """How a sentence encoder, a folder or hub id, pools its tokens; the mean where nothing is said.

    Raises:
        CslabError: for a recipe with further layers, or another pooling.
    """
    modules = _part(encoder, "modules.json") or []
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if odd := [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]:
        raise CslabError(f"{encoder}: a sentence encoder with a {odd[0]} layer; only pooled encoders can be loaded")
    at = next((module["path"] for module in modules if str(module["type"]).endswith(".Pooling")), None)
    held = _part(encoder, f"{at}/config.json") if at else None
    if held is None:
        return "mean"
    found = held.get("pooling_mode") or [
        kind for kind, key in (("mean", "mean_tokens"), ("cls", "cls_token")) if held.get(f"pooling_mode_{key}")
    ]
    found = [found] if isinstance(found, str) else list(found)
    if len(found) != 1 or found[0] not in POOLINGS:
        named = found or "of another kind"
        raise CslabError(f"{encoder}: {at}/config.json has pooling {named}; offered: {', '.join(POOLINGS)}")
    return found[0]


def read_prompts(encoder: str) -> dict[str, str]:
    """The prefixes of a folder or hub id by side, `query` and `document`; empty where it names none."""
    held = (_part(encoder, FILE) or {}).get("prompts")
    found = {side: next((held[n] for n in names if n in held), "") for side, names in SIDES.items()} if held else {}
    return {side: prefix for side, prefix in found.items() if prefix}


def write_sentence_recipe(
    folder: str | Path, width: int, pooling: str, longest: int, prompts: Mapping[str, str] | None = None
) -> None:
    """Writes the recipe: the encoder, then its pooling, then scaling to length one.

    Args:
        folder: of the encoder.
        width: of its vectors.
        pooling: "mean" or "cls".
        longest: tokens of a text.
        prompts: prefixes by side, `query` and `document`.
    """
    folder = Path(folder)
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": False})
    mean = pooling == "mean"
    made = {"word_embedding_dimension": width, "pooling_mode_mean_tokens": mean, "pooling_mode_cls_token": not mean}
    write_json(folder / "1_Pooling" / "config.json", made)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    if prompts:
        write_json(folder / FILE, {"prompts": dict(prompts), "similarity_fn_name": "cosine"})
