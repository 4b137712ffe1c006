"""Teaching an encoder new languages from monolingual text alone: vocabulary, masked words, and a measure of alignment.

Reads lines of text by language (no parallel data) and any encoder with a masked-word head. What the text is made of
becomes pieces of its vocabulary (WordPiece vocabularies only; others cover all scripts as they are), whose embeddings
start at random or near those of English words (`starts`), and training goes on with masked words, languages in equal
shares; English among them keeps what the encoder knew. Writes `model/`, which `load_encoder` opens, `log.jsonl` and,
while it runs, `checkpoint.pt`: the same call goes on from there.

    texts = {"en": english, "de": german, "ru": russian}                      # language → lines
    adapt("minilm", texts, "encoders/adapted", AdaptSettings(steps=5000), pairs={"de": [("Hund", "dog"), …]})
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cslab.ahead import prefetched
from cslab.ranking.cross_encoder import Progress, hub_path, quiet
from cslab.ranking.pair_tokens import backend, tokenise, word_cutter
from cslab.ranking.precision import choose_precision, computing_in
from cslab.ranking.vocabulary import with_pieces
from cslab.store import CslabError, fingerprint, write_json
from cslab.training.alignment import Pairs, alignment
from cslab.training.batches import Batch
from cslab.training.loop import parameter_groups
from cslab.training.pairs import generator
from cslab.training.pretrain import masked
from cslab.training.record import Record
from cslab.training.starts import Seeds, aligned_rows, seeds_key
from cslab.training.weights import Weights


@dataclass(frozen=True)
class AdaptSettings:
    """How an encoder is adapted; `lr` is the peak, reached after the share `warmup` of the steps.

    Attributes:
        steps: updates.
        batch: rows of an update.
        lr: peak learning rate.
        warmup: share of the steps.
        max_length: tokens of a row: consecutive lines of one language, cut where it is full.
        mask: share of the tokens that are predicted.
        vocabulary: pieces of each language's own vocabulary, of which those are added that are not there; 0 for none.
        minimum: occurrences that a word needs to be one.
        weight_decay: of AdamW.
        precision: "auto", "fp32" or "bf16".
        seed: of rows, masks, dropout and new embeddings.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints; 0 for none.
    """

    steps: int = 5000
    batch: int = 64
    lr: float = 3e-4
    warmup: float = 0.06
    max_length: int = 128
    mask: float = 0.15
    vocabulary: int = 20_000
    minimum: int = 3
    weight_decay: float = 0.01
    precision: str = "auto"
    seed: int = 0
    log_every: int = 50
    save_every: int = 500


def adapt(
    base: str | Path,
    texts: Mapping[str, Sequence[str]],
    folder: str | Path,
    settings: AdaptSettings | None = None,
    pairs: Mapping[str, Pairs] | None = None,
    device: str | torch.device | None = None,
    progress: Progress | None = print,
    seeds: Seeds | None = None,
) -> dict[str, Any]:
    """Adapts an encoder to languages.

    Args:
        base: hub id, folder, "minilm" or "atlas".
        texts: language → lines.
        folder: for the model, the log and the checkpoint; a checkpoint in it is gone on from.
        settings: how.
        pairs: language → (text, English text), to measure alignment on before and after; never trained on.
        device: default CUDA where there is one.
        progress: called with a line of text now and then.
        seeds: language → a lexicon to English or "identical": new pieces of the language start near English words
            that word vectors, mapped from these known words on, find for them; drawn at random where it is not named.

    Returns:
        Small numbers: pieces added, losses, alignment `before`, at the `start` of training (with seeds) and `after`.

    Raises:
        CslabError: for text that is too short, an encoder without safetensors, a checkpoint of another run, or a loss
            that is not finite; for seeds without text or too few known words.
    """
    settings, folder, pairs, seeds = settings or AdaptSettings(), Path(folder), pairs or {}, seeds or {}
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model, tokenizer = _load(base, settings.seed)

    def aligned() -> dict[str, dict[str, float]]:
        return {code: alignment(model.to(device), tokenizer, some) for code, some in pairs.items()}

    before = aligned()
    first = len(tokenizer)
    model, tokenizer, added = extend(model, tokenizer, texts, settings)
    started = {}
    if seeds and len(tokenizer) > first:
        found = _start(model, tokenizer, first, texts, seeds, folder, progress)
        started = {"seeds": found, "start": aligned()}
    rows = {code: _tokens(tokenizer, lines, settings.max_length, code) for code, lines in texts.items()}
    figures = _train(model.to(device), tokenizer, rows, settings, seeds_key(seeds), folder, progress)
    made = {"base": str(base), "languages": list(texts), "pieces": added, **figures}
    made |= {"before": before, **started, "after": aligned()}
    _save(model, tokenizer, folder, {"settings": asdict(settings), **made})
    shutil.rmtree(folder / "vectors", ignore_errors=True)
    return made


def _load(base: str | Path, seed: int) -> tuple[Any, Any]:
    import transformers

    path = hub_path(str(base))
    torch.manual_seed(int(generator("masked-word head", seed).integers(2**53)))
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(path)
            model = transformers.AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise CslabError(f"{base}: no encoder with masked words ({reason}); give a folder or a hub id") from None
    if tokenizer.mask_token_id is None:
        raise CslabError(f"{base}: its tokenizer has no mask token; take an encoder that was trained on masked words")
    return model.eval(), tokenizer


# --- vocabulary ----------------------------------------------------------------------------------------------


def extend(
    model: Any, tokenizer: Any, texts: Mapping[str, Sequence[str]], settings: AdaptSettings
) -> tuple[Any, Any, dict[str, int]]:
    """Adds the pieces that the text of each language is made of, with embeddings drawn like those that are there.

    A vocabulary is built for each language from words that the tokenizer cuts, by byte-pair merges of its letters; so
    frequent words become one piece and rare ones a few.

    Returns:
        The model, its tokenizer, and how many pieces each language added.
    """
    fast, added = backend(tokenizer), {}
    if not settings.vocabulary or type(fast.model).__name__ != "WordPiece":
        return model, tokenizer, dict.fromkeys(texts, 0)
    known = dict.fromkeys(tokenizer.get_vocab())
    start, pieces = len(tokenizer), {}
    for code, lines in texts.items():
        found = [p for p in _pieces(tokenizer, lines, settings) if p not in known and p not in pieces]
        pieces |= dict.fromkeys(found)
        added[code] = len(found)
    if not pieces:
        return model, tokenizer, added
    table = model.get_input_embeddings().weight.detach()
    mean, spread = table.mean(dim=0), table.std(dim=0)
    model.resize_token_embeddings(max(len(table), start + len(pieces)), mean_resizing=False)
    drawn = generator("pieces", settings.seed).normal(size=(len(pieces), table.shape[1]))
    with torch.no_grad():
        new = model.get_input_embeddings().weight[start : start + len(pieces)]
        new.copy_(mean + spread * torch.from_numpy(drawn).to(table))
    return model, with_pieces(tokenizer, list(pieces), start), added


def _pieces(tokenizer: Any, lines: Sequence[str], settings: AdaptSettings) -> list[str]:
    """The pieces that a language's words are made of, those of most words in the text first.

    The merges are learnt without the mark of pieces inside words, whose numbering would differ from run to run.
    """
    from tokenizers import Tokenizer, models, trainers

    fast, cut = backend(tokenizer), word_cutter(tokenizer)
    trained = Tokenizer(models.BPE())
    trained.normalizer, trained.pre_tokenizer = fast.normalizer, fast.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary, min_frequency=settings.minimum, special_tokens=[], show_progress=False
    )
    trained.train_from_iterator(lines, trainer)
    counted = Counter(word for line in lines for word in cut(line))
    mark, found = fast.model.continuing_subword_prefix, Counter()
    for word, count in counted.items():
        for place, token in enumerate(trained.model.tokenize(word)):
            found[mark * (place > 0) + token.value] += count
    return sorted(found, key=lambda piece: (-found[piece], piece))[: settings.vocabulary]


def _start(
    model: Any,
    tokenizer: Any,
    first: int,
    texts: Mapping[str, Sequence[str]],
    seeds: Seeds,
    folder: Path,
    progress: Progress | None,
) -> dict[str, dict[str, int]]:
    """Sets the embeddings of the pieces from `first` on that word vectors can tell; what was found, by language."""
    table = model.get_input_embeddings().weight
    ids, rows, made = aligned_rows(tokenizer, table[:first], first, texts, seeds, folder / "vectors", progress)
    with torch.no_grad():
        table[ids.to(table.device)] = rows.to(table)
    return made


# --- training ------------------------------------------------------------------------------------------------


def _tokens(tokenizer: Any, lines: Sequence[str], length: int, code: str) -> np.ndarray:
    """The tokens of all lines in a row, a separator after each."""
    tokens = tokenise(tokenizer, lines)
    flat = np.insert(tokens.ids, np.cumsum(tokens.lengths), tokenizer.sep_token_id)
    if len(flat) < 2 * length:
        raise CslabError(f"text in '{code}': {len(flat)} tokens, at least {2 * length} are needed; add lines")
    return flat


def _batch(
    step: int, rows: Mapping[str, np.ndarray], tokenizer: Any, special: np.ndarray, settings: AdaptSettings
) -> Batch:
    """The rows of a step, each from a random place of the text of a language; languages take turns."""
    random, codes, room = generator("adapt", settings.seed, step), list(rows), settings.max_length - 1
    ids = np.full((settings.batch, settings.max_length), tokenizer.cls_token_id, np.int64)
    for row in range(settings.batch):
        flat = rows[codes[(step * settings.batch + row) % len(codes)]]
        place = int(random.integers(0, len(flat) - room))
        ids[row, 1:] = flat[place : place + room]
    made = masked(ids, np.zeros_like(ids), tokenizer, special, settings.mask, random)
    labels = torch.from_numpy(made.pop("labels"))
    inputs = {name: torch.from_numpy(made[name]) for name in tokenizer.model_input_names if name in made}
    return Batch(step, 0, np.arange(settings.batch), inputs, labels, ids.size)


def _train(
    model: Any,
    tokenizer: Any,
    rows: Mapping[str, np.ndarray],
    settings: AdaptSettings,
    begun: str,
    folder: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    device = next(model.parameters()).device
    precision, because = choose_precision(settings.precision, device)
    if progress:
        progress(f"adapting on {device}, {precision} ({because}), {len(tokenizer):,} pieces")
    optimizer = torch.optim.AdamW(parameter_groups(model, settings.weight_decay), lr=settings.lr, fused=True)
    digests = {code: [len(flat), int(flat.sum())] for code, flat in rows.items()}
    weights = Weights(model, optimizer)
    record = Record.open(folder, fingerprint([settings, digests, len(tokenizer), begun]), weights)
    special = np.array(sorted(tokenizer.all_special_ids))
    model.train()
    steps = range(record.step, settings.steps)
    drawn = (_batch(step, rows, tokenizer, special, settings).pinned(device) for step in steps)
    with prefetched(drawn) as coming:
        for batch in coming:
            rate = _learning_rate(batch.step, settings)
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch = batch.to(device)
            torch.manual_seed(int(generator("dropout", settings.seed, batch.step).integers(2**53)))
            with computing_in(model, precision):
                loss = masked_loss(model, batch)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            record.count(batch, loss.detach() + 0.0 * norm)
            record.keep(rate, settings, weights, progress)
    model.eval()
    made = record.summary() | {"precision": precision, "device": str(device)}
    record.checkpoint.unlink(missing_ok=True)
    return made


def masked_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of the chosen tokens; logits over the vocabulary are made for these alone."""
    chosen = batch.labels != -100
    hidden = model.base_model(**batch.inputs).last_hidden_state[chosen]
    head = model.cls if hasattr(model, "cls") else model.lm_head if hasattr(model, "lm_head") else None
    if head is None:
        raise CslabError(
            f"{type(model).__name__}: its masked-word head is of no kind known here; take a BERT or RoBERTa"
        )
    logits = head.predictions(hidden) if hasattr(head, "predictions") else head(hidden)
    return nn.functional.cross_entropy(logits.float(), batch.labels[chosen])


def _learning_rate(step: int, settings: AdaptSettings) -> float:
    warm = max(1, round(settings.warmup * settings.steps))
    return settings.lr * min((step + 1) / warm, (settings.steps - step) / max(1, settings.steps - warm))


def _save(model: Any, tokenizer: Any, folder: Path, card: Mapping[str, Any]) -> None:
    """Writes the model beside its place and moves it there when it is whole."""
    work, place = folder / ".model.partial", folder / "model"
    shutil.rmtree(work, ignore_errors=True)
    with quiet():
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)
    write_json(work / "card.json", dict(card))
    shutil.rmtree(place, ignore_errors=True)
    os.replace(work, place)
