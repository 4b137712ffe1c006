"""`cslab lexicon …`: get a bilingual lexicon, and know how good it is; `cslab encoder …`: make encoders.

cslab lexicon train en.txt --language en --out vectors/en
cslab lexicon align vectors/en vectors/de --seed en-de.txt --out aligned
cslab lexicon induce aligned/source aligned/target --out en-de.tsv.gz
cslab lexicon evaluate en-de.tsv.gz --test test.txt
cslab encoder atlas --out encoders/atlas
"""

from pathlib import Path
from typing import Annotated

import typer

from cslab.store import CslabError

lexicon_app = typer.Typer(
    help="Train vectors, align, induce, read titles, merge, look up, evaluate.", no_args_is_help=True
)

encoder_app = typer.Typer(help="Make encoders.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Where the result goes.")]
Source = Annotated[str, typer.Option(help="Source language, e.g. en.")]
Target = Annotated[str, typer.Option(help="Target language, e.g. de.")]
Known = Annotated[str | None, typer.Option(help="Needed where no JSON beside the lexicon says it.")]
OfFile = Annotated[str, typer.Option(help="Needed for files; a folder knows its own.")]


@lexicon_app.command()
def train(
    text: Annotated[Path, typer.Argument(help="Text, one sentence or document a line (.gz allowed).")],
    language: Annotated[str, typer.Option(help="Its language.")],
    out: Out,
    dimensions: int = 100,
    epochs: int = 10,
    minimum: Annotated[int, typer.Option(help="Occurrences a word needs.")] = 2,
    seed: int = 0,
) -> None:
    """Trains fastText vectors on a text."""
    from cslab.lexicon.train import Training, train_vectors
    from cslab.store import read_lines

    settings = Training(dimensions=dimensions, epochs=epochs, minimum=minimum, seed=seed)
    made = train_vectors((line for _, line in read_lines(text)), language, out, settings, _percent("training"))
    print(f"{out}: {len(made):,} words, {made.dimensions} dimensions")


@lexicon_app.command()
def align(
    source: Annotated[Path, typer.Argument(help="Vectors: .vec, .vec.gz, .bin or a folder.")],
    target: Annotated[Path, typer.Argument(help="Vectors of the other language.")],
    seed: Annotated[str, typer.Option(help="A dictionary from the first language, or `identical`.")],
    out: Out,
    source_language: OfFile = "en",
    target_language: OfFile = "de",
    method: Annotated[str, typer.Option(help="procrustes, refine or rcsls")] = "refine",
    limit: Annotated[int | None, typer.Option(help="Words to read of each.")] = 200_000,
) -> None:
    """Maps vectors into the space of another language; writes `source` and `target` in the common space."""
    from dataclasses import replace

    from cslab.lexicon.align import Aligning
    from cslab.lexicon.align import align as align_vectors
    from cslab.lexicon.vectors import read_vectors, save_vectors

    x, y = read_vectors(source, source_language, limit), read_vectors(target, target_language, limit)
    pairs = _seed(seed, x.language, y.language)
    found = align_vectors(
        x, y, pairs, Aligning(method=method), progress=lambda what, value: print(f"  {what} {value:g}")
    )
    save_vectors(replace(x, matrix=found.map_source(x.matrix).numpy(), subwords=None), out / "source")
    save_vectors(replace(y, matrix=found.map_target(y.matrix).numpy(), subwords=None), out / "target")
    print(f"{out}: mapped from {found.pairs:,} seed pairs")


@lexicon_app.command()
def induce(
    source: Annotated[Path, typer.Argument(help="Vectors in a common space.")],
    target: Annotated[Path, typer.Argument(help="Vectors of the other language.")],
    out: Out,
    source_language: OfFile = "en",
    target_language: OfFile = "de",
    method: Annotated[str, typer.Option(help="nn, csls or softmax")] = "csls",
    top: int = 5,
    threshold: float | None = None,
    mutual: bool = False,
    faithful: Annotated[
        bool, typer.Option("--faithful", help="As 2305.05295: cosine, one translation, no limit.")
    ] = False,
    limit: int | None = 200_000,
) -> None:
    """Induces a lexicon from two sets of vectors in one space."""
    from cslab.lexicon.induce import FAITHFUL, Retrieval
    from cslab.lexicon.induce import induce as induce_lexicon
    from cslab.lexicon.lexicon import write_lexicon
    from cslab.lexicon.vectors import read_vectors

    x, y = read_vectors(source, source_language, limit), read_vectors(target, target_language, limit)
    how = FAITHFUL if faithful else Retrieval(method, top=top, threshold=threshold, mutual=mutual)
    found = induce_lexicon(x, y, retrieval=how)
    write_lexicon(found, out)
    print(f"{out}: {len(found):,} entries")


@lexicon_app.command()
def titles(
    file: Annotated[Path, typer.Argument(help="Titles: TSV with language codes as header, or wikititles XML (.gz).")],
    source: Source,
    target: Target,
    out: Out,
    longest: Annotated[int, typer.Option(help="Words of the longest source title.")] = 3,
    faithful: Annotated[bool, typer.Option("--faithful", help="The cleaning of 2305.05295.")] = False,
) -> None:
    """Makes a lexicon of parallel Wikipedia titles."""
    from cslab.lexicon.lexicon import write_lexicon
    from cslab.lexicon.titles import Cleaning, titles_lexicon
    from cslab.lexicon.wikidumps import read_titles

    found = titles_lexicon(
        read_titles(file, source, target), source, target, Cleaning(longest=longest, faithful=faithful)
    )
    write_lexicon(found, out)
    print(f"{out}: {len(found):,} entries; " + ", ".join(f"{what} {count:,}" for what, count in found.notes.items()))


@lexicon_app.command()
def merge(
    lexicons: Annotated[list[Path], typer.Argument(help="Lexicons, best first.")],
    source: Source,
    target: Target,
    out: Out,
    keep: Annotated[str, typer.Option(help="all translations, or those of the first that knows the word")] = "all",
) -> None:
    """Merges lexicons by priority; each entry keeps its source."""
    from cslab.lexicon.dictionaries import merge as merge_lexicons
    from cslab.lexicon.lexicon import write_lexicon

    found = merge_lexicons([_read(path, source, target) for path in lexicons], keep)
    write_lexicon(found, out)
    print(f"{out}: {len(found):,} entries")


@lexicon_app.command()
def show(
    lexicon: Path,
    words: Annotated[list[str] | None, typer.Argument(help="Words to look up; none for the first entries.")] = None,
    source: Known = None,
    target: Known = None,
    top: int = 5,
) -> None:
    """Looks words up, with score and source."""
    found = _read(lexicon, source, target)
    print(f"{lexicon}: {found.source}-{found.target}, {len(found):,} entries, {found.identity_share():.0%} identical")
    for word in words or list(found)[:20]:
        entry = found.get(word, ())
        told = ", ".join(f"{t.text} ({t.score:.3g}, {t.method})" for t in entry[:top])
        print(f"  {word}: {told or 'not in the lexicon'}")


@lexicon_app.command()
def evaluate(
    lexicon: Path,
    test: Annotated[Path, typer.Option(help="A test dictionary.")],
    source: Known = None,
    target: Known = None,
    by: Annotated[str | None, typer.Option(help="Break down by band, script, pos, method or identical.")] = None,
    worst: Annotated[int, typer.Option(help="Wrong translations to list.")] = 0,
) -> None:
    """P@1/5/10 and MRR against a test dictionary, over covered words and over all."""
    from cslab.lexicon.quality import evaluate as measure

    made = _read(lexicon, source, target)
    found = measure(made, _read(test, made.source, made.target))
    for name, value in found.summary.items():
        print(f"  {name}: {value:.4g}")
    if by:
        print(found.by(by).round(3).to_string())
    if worst:
        print(found.worst(worst).to_string(index=False))


@encoder_app.command()
def atlas(
    out: Out, steps: Annotated[int | None, typer.Option(help="Updates; the recipe's own by default.")] = None
) -> None:
    """Makes the atlas's small multilingual encoder by its recipe (about ten minutes on two cores)."""
    from dataclasses import replace

    from cslab.training.atlas_encoder import SETTINGS, make_atlas_encoder

    made = make_atlas_encoder(out, replace(SETTINGS, steps=steps) if steps else SETTINGS)
    print(f"{out}: " + ", ".join(f"{name} {value}" for name, value in made.items()))


def _read(path: Path, source: str | None, target: str | None):
    """A dictionary of any form; languages that are not given are those that the JSON beside it names."""
    from cslab.lexicon.dictionaries import read_dictionary
    from cslab.store import read_record

    beside = Path(f"{path}.json")
    known = read_record(beside, "write the lexicon again") if beside.is_file() and not (source and target) else {}
    source, target = source or known.get("source"), target or known.get("target")
    if not source or not target:
        raise CslabError(f"{path}: its languages are not known; give --source and --target")
    return read_dictionary(path, source, target)


def _seed(given: str, source: str, target: str):
    """What an alignment starts from: words spelt alike, or a dictionary."""
    return given if given == "identical" else _read(Path(given), source, target)


def _percent(what: str):
    last = [-1]

    def told(share: float) -> None:
        if int(share * 10) > last[0]:
            last[0] = int(share * 10)
            print(f"  {what}: {share:.0%}", flush=True)

    return told
