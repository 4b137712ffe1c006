"""From the settings of a profile to records: which files they mean, and how they are read.

`collections.py` has a table of collections, `lexicons.py` one of lexicons; `places.py` says where files are looked up.

    collection = read_test(load_profile("demo").collection)
    lexicon = read_lexicon(load_profile("demo").lexicon, "de")
"""

from cslab.sources.collections import (
    COLLECTIONS,
    collection_files,
    read_pairs,
    read_runs,
    read_test,
    read_training,
    training_files,
    training_languages,
)
from cslab.sources.induction import atlas_vectors, induced_lexicon, induction_table, seed_titles
from cslab.sources.lexicons import LEXICONS, lexicon_files, read_lexicon
from cslab.sources.places import data_roots, locate

__all__ = [
    "COLLECTIONS",
    "LEXICONS",
    "atlas_vectors",
    "collection_files",
    "data_roots",
    "induced_lexicon",
    "induction_table",
    "lexicon_files",
    "locate",
    "read_lexicon",
    "read_pairs",
    "read_runs",
    "read_test",
    "read_training",
    "seed_titles",
    "training_files",
    "training_languages",
]
