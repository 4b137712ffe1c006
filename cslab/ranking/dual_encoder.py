"""Dual encoders: load one, make vectors of texts and images, keep them, save it for everybody.

Reads any hub id or local folder with safetensors and no remote code: CLIP, SigLIP, SigLIP 2, XLM-R-CLIP in the form of
a `VisionTextDualEncoder`; or for text alone a sentence encoder ("me5", "minilm", a sentence-transformers folder). Saves
a joint model as transformers' folder, a sentence encoder as sentence-transformers', towers of two makes as two folders.

    encoder = load_dual_encoder("google/siglip2-base-patch16-224")
    texts = embed_texts(encoder, ["a fox", "ein Fuchs"])                     # (2, 768), unit rows
    names, images = stored_images(encoder, Images.at("photos"), "outputs/vectors")
"""

import copy
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from cslab.lexicon.search import unit_rows
from cslab.ranking import me5
from cslab.ranking.cross_encoder import Encoder, Progress, cannot_load, hub_path, quiet, weights_of
from cslab.ranking.precision import aligned, choose_precision, computing_in
from cslab.ranking.sentence_recipe import PROMPTS_OF_E5, read_pooling, read_prompts, write_sentence_recipe
from cslab.ranking.towers import Towers
from cslab.store import CslabError, atomic_path, fingerprint, read_json, write_json

RECORD = "dual_encoder.json"
Side = Literal["query", "document"]
LOAD_ERRORS = (OSError, ValueError, RuntimeError, KeyError, ImportError)


@dataclass(frozen=True)
class DualEncoder:
    """Both towers, the tokenizer, what turns images into pixels (None for text alone), a name, prefixes of texts.

    Some sentence encoders want to be told what a text is: `prompts` has a prefix for `query` and `document`.
    """

    model: Towers
    tokenizer: Any
    processor: Any
    name: str
    notes: Mapping[str, int] = field(default_factory=dict)
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.scale.device

    @property
    def max_length(self) -> int:
        """Tokens of the longest text."""
        return min(int(self.tokenizer.model_max_length), self.model.positions())

    def tokens(self, texts: Sequence[str], max_length: int | None = None) -> dict[str, Tensor]:
        """Padded token ids and attention mask of texts, as the text tower was trained to see them."""
        length = min(max_length or self.max_length, self.max_length)
        whole = not self.model.masked  # a tower without mask expects padding up to its full length
        made = self.tokenizer(
            list(texts), padding="max_length" if whole else True, truncation=True,
            max_length=self.max_length if whole else length, return_tensors="pt",
        )  # fmt: skip
        inputs = {"input_ids": made["input_ids"]}
        inputs["attention_mask"] = made.get("attention_mask", (made["input_ids"] != self.tokenizer.pad_token_id).long())
        return inputs

    def pixels(self, images: Sequence[Any]) -> dict[str, Tensor]:
        """What the image tower reads of PIL images or uint8 arrays (height, width, 3).

        Raises:
            CslabError: for an encoder of text alone.
        """
        if self.processor is None:
            raise CslabError(f"{self.name} encodes text alone; load a CLIP or SigLIP model for images")
        return dict(self.processor(images=list(images), return_tensors="pt"))


# --- loading -------------------------------------------------------------------------------------------------


def load_dual_encoder(name_or_path: str | Path, device: str | torch.device | None = None) -> DualEncoder:
    """Loads a dual encoder.

    Args:
        name_or_path: hub id, local folder, "me5" or "minilm".
        device: default CUDA where there is one, else the CPU.

    Raises:
        CslabError: if there is none, it has no safetensors, or a part that is not understood.
    """
    import transformers

    name, parts = str(name_or_path), (Path(name_or_path) / RECORD).is_file()
    path = str(name_or_path) if parts else hub_path(name)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        with quiet():
            if parts:
                return _load_parts(Path(path), name, device)
            config = transformers.AutoConfig.from_pretrained(path)
            tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            model = transformers.AutoModel.from_pretrained(path, dtype=torch.float32, use_safetensors=True)
            joint = hasattr(config, "vision_config") and hasattr(model, "get_text_features")
            processor = transformers.AutoImageProcessor.from_pretrained(path) if joint else None
    except LOAD_ERRORS as error:
        raise cannot_load("dual encoder", name, error) from None
    towers = Towers(model, model) if joint else Towers(model, pooling=read_pooling(path))
    prompts = PROMPTS_OF_E5 if path == me5.HUB else read_prompts(path)
    return DualEncoder(aligned(towers).to(device).eval(), tokenizer, processor, name, prompts=prompts)


def join_towers(
    text: nn.Module,
    tokenizer: Any,
    image: nn.Module,
    processor: Any,
    width: int = 128,
    seed: int = 0,
    name: str = "joined",
    size: int = 64,
) -> DualEncoder:
    """Two models that were not made for each other, with new heads into a common space.

    Args:
        text: a text encoder of transformers.
        tokenizer: its tokenizer.
        image: an image encoder of transformers.
        processor: its image processor.
        width: size of the common space.
        seed: of the heads.
        name: for reports.
        size: of the images, where the processor leaves it alone.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(int.from_bytes(blake2b(f"heads\t{seed}".encode(), digest_size=7).digest(), "big"))
        blank = processor(images=[np.zeros((size, size, 3), np.uint8)], return_tensors="pt")
        features = image.eval()(**blank).last_hidden_state[0].numel()
        towers = Towers(text, image, width=width, features=features)
    return DualEncoder(towers.eval(), tokenizer, processor, name)


def with_lexicons(encoder: DualEncoder, lexicons: Any, words: int | None = None) -> DualEncoder:
    """A dual encoder whose text tower knows target words of lexicons, each as the mean of its translations.

    Args: as for `cslab.ranking.vocabulary.extend_vocabulary`.

    Raises:
        CslabError: for a joint model, whose table is tied into it, or a vocabulary that is not WordPiece.
    """
    from cslab.ranking.vocabulary import extend_vocabulary

    if encoder.model.joint:
        raise CslabError(f"{encoder.name}: the vocabulary of a joint model cannot be extended; use a text tower apart")
    longer = extend_vocabulary(Encoder(encoder.model.text, encoder.tokenizer, encoder.name), lexicons, words)
    model = copy.deepcopy(encoder.model)
    model.text = longer.model
    return replace(encoder, model=model.eval(), tokenizer=longer.tokenizer, notes=longer.notes)


# --- saving --------------------------------------------------------------------------------------------------


def save_dual_encoder(encoder: DualEncoder, folder: str | Path, card: Mapping[str, Any] | None = None) -> None:
    """Writes weights, tokenizer, image processor and `card.json`; the file that marks a whole folder comes last.

    Args:
        encoder: what to save.
        folder: where; other files in it are left alone.
        card: facts (condition, data, figures), JSON-like.
    """
    folder, model = Path(folder), encoder.model
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary, quiet():
        work = Path(temporary)
        if model.joint:
            model.text.save_pretrained(work)
            encoder.processor.save_pretrained(work)
            encoder.tokenizer.save_pretrained(work)
        elif model.image is None:
            model.text.save_pretrained(work, state_dict=weights_of(model.text))
            encoder.tokenizer.save_pretrained(work)
            width = model.text.config.hidden_size
            write_sentence_recipe(work, width, model.pooling, encoder.max_length, encoder.prompts)
        else:
            _save_parts(encoder, work)
        write_json(work / "card.json", {"started from": encoder.name} | dict(card or {}))
        files = sorted(f for f in work.rglob("*") if f.is_file())
        for file in sorted(files, key=lambda f: f.parent == work and f.name in ("config.json", RECORD)):
            (folder / file.relative_to(work)).parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, folder / file.relative_to(work))


def _save_parts(encoder: DualEncoder, work: Path) -> None:
    """Two models in two folders, heads and temperature beside them."""
    from safetensors.torch import save_file

    model = encoder.model
    model.text.save_pretrained(work / "text")
    encoder.tokenizer.save_pretrained(work / "text")
    model.image.save_pretrained(work / "image")
    encoder.processor.save_pretrained(work / "image")
    own = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith(("text.", "image."))}
    save_file(own, work / "heads.safetensors")
    sizes = {"width": model.text_head.out_features, "features": model.image_head.in_features}
    write_json(work / RECORD, {"pooling": model.pooling, **sizes})


def _load_parts(path: Path, name: str, device: torch.device) -> DualEncoder:
    import transformers
    from safetensors.torch import load_file

    held = read_json(path / RECORD)
    text, image = (
        transformers.AutoModel.from_pretrained(path / side, dtype=torch.float32, use_safetensors=True)
        for side in ("text", "image")
    )
    towers = Towers(text, image, held["pooling"], held["width"], held["features"])
    towers.load_state_dict(load_file(path / "heads.safetensors"), strict=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path / "text")
    processor = transformers.AutoImageProcessor.from_pretrained(path / "image")
    return DualEncoder(aligned(towers).to(device).eval(), tokenizer, processor, name)


# --- vectors -------------------------------------------------------------------------------------------------


def embed_texts(
    encoder: DualEncoder,
    texts: Sequence[str],
    batch: int = 128,
    max_length: int | None = None,
    precision: str = "fp32",
    progress: Progress | None = None,
    unit: bool = True,
    side: Side | None = None,
) -> Tensor:
    """Vectors of texts, (texts, d) float32 on the CPU: encoded once each, like lengths together.

    Args:
        encoder: a dual encoder.
        texts: in any order.
        batch: texts at a time.
        max_length: tokens of a text (default: the encoder's).
        precision: "auto", "fp32" or "bf16".
        progress: called with a line of text now and then.
        unit: scale rows to length one; False gives them as the tower does, for a student to follow.
        side: what the texts are, "query" or "document", for encoders that want a prefix; None for no prefix.
    """
    prefix = encoder.prompts.get(side, "") if side else ""
    distinct = sorted(dict.fromkeys(texts), key=len)
    parts = []
    for start in range(0, len(distinct), batch):
        inputs = encoder.tokens([prefix + text for text in distinct[start : start + batch]], max_length)
        parts.append(_encoded(encoder, encoder.model, inputs, precision))
        if progress and start // batch % 20 == 19:
            progress(f"{start + batch:,} of {len(distinct):,} texts encoded")
    place = {text: row for row, text in enumerate(distinct)}
    found = torch.cat(parts)[[place[text] for text in texts]]
    return unit_rows(found) if unit else found


def embed_images(
    encoder: DualEncoder,
    images: Iterable[tuple[str, Any]],
    batch: int = 64,
    precision: str = "fp32",
    progress: Progress | None = None,
    states: bool = False,
) -> tuple[list[str], Tensor]:
    """Names and vectors, (images, d) float32 unit rows, of (name, image) pairs, which are read as a stream.

    With `states` not pooled: what the tower knows of each place of an image, (images, places, width) float16.
    """
    names, parts = [], []
    tower = encoder.model.image_states if states else encoder.model.image_vectors
    for some in _batched(images, batch):
        names += [name for name, _ in some]
        pixels = encoder.pixels([image for _, image in some])
        found = _encoded(encoder, tower, pixels, precision)
        parts.append(found.half() if states else unit_rows(found))
        if progress and len(parts) % 20 == 0:
            progress(f"{len(names):,} images encoded")
    if not parts:
        raise CslabError("no image could be read; check the folder or the shards, and the names asked for")
    return names, torch.cat(parts)


def _encoded(
    encoder: DualEncoder, tower: Callable[..., Tensor], inputs: Mapping[str, Tensor], precision: str
) -> Tensor:
    kind, _ = choose_precision(precision, encoder.device)
    was_training = encoder.model.training
    encoder.model.eval()
    try:
        with torch.inference_mode(), computing_in(encoder.model, kind):
            return tower(**{name: t.to(encoder.device) for name, t in inputs.items()}).float().cpu()
    finally:
        encoder.model.train(was_training)


def _batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    stream = iter(items)
    while some := list(islice(stream, size)):
        yield some


def image_key(encoder: DualEncoder) -> str:
    """A hash of the image tower's weights and of how it prepares pixels: what stored image vectors depend on."""
    digest = blake2b(str(encoder.processor.to_dict()).encode(), digest_size=8)
    for parameter in encoder.model.image_parameters():
        digest.update(parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def stored_images(
    encoder: DualEncoder,
    images: Iterable[tuple[str, Any]],
    folder: str | Path,
    key: object = "",
    precision: str = "fp32",
    progress: Progress | None = None,
    states: bool = False,
) -> tuple[list[str], Tensor]:
    """Names and vectors (or states) of images, made once and kept in `folder` as safetensors with a list of names.

    Args:
        encoder: whose image tower; another one, or one that was trained on, has its own file.
        images: (name, image) pairs; not read if the vectors are there.
        folder: where the file goes.
        key: what the images depend on, JSON-like: paths, or the settings of a generator.
        precision, progress, states: as in `embed_images`.
    """
    from safetensors.torch import load_file, save_file

    kind = "states" if states else "images"
    kept = choose_precision(precision, encoder.device)[0]
    path = Path(folder) / f"{kind}-{fingerprint([image_key(encoder), key, kept])}.safetensors"
    names = path.with_suffix(".json")
    if path.is_file() and names.is_file():
        return read_json(names), load_file(path)["images"]
    made, vectors = embed_images(encoder, images, precision=precision, progress=progress, states=states)
    with atomic_path(path) as temporary:
        save_file({"images": vectors}, temporary)
    write_json(names, made)
    return made, vectors
