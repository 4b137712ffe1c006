"""Languages: code, name, script, direction, stemmer, and the language pairs of the paper.

Codes are ISO 639-1, as in mMARCO and XQuAD-R. Any other code a user brings can be registered with `register`.

    >>> language("ar").direction, setting("en", "de"), setting("de", "de")
    ('rtl', 'CLIR', 'MoIR')
"""

from dataclasses import dataclass

from cslab.store import CslabError, nearest


@dataclass(frozen=True)
class Language:
    """One language: `script` is ISO 15924, `stemmer` a Snowball name or None, `spaced` whether words are spaced."""

    code: str
    name: str
    script: str = "Latn"
    direction: str = "ltr"
    stemmer: str | None = None
    spaced: bool = True


LANGUAGES: dict[str, Language] = {
    row.code: row
    for row in (
        Language("ar", "Arabic", "Arab", "rtl", "arabic"),
        Language("bn", "Bengali", "Beng"),
        Language("cs", "Czech"),
        Language("da", "Danish", stemmer="danish"),
        Language("de", "German", stemmer="german"),
        Language("el", "Greek", "Grek", stemmer="greek"),
        Language("en", "English", stemmer="english"),
        Language("es", "Spanish", stemmer="spanish"),
        Language("fa", "Persian", "Arab", "rtl"),
        Language("fi", "Finnish", stemmer="finnish"),
        Language("fr", "French", stemmer="french"),
        Language("he", "Hebrew", "Hebr", "rtl"),
        Language("hi", "Hindi", "Deva", stemmer="hindi"),
        Language("hu", "Hungarian", stemmer="hungarian"),
        Language("id", "Indonesian", stemmer="indonesian"),
        Language("it", "Italian", stemmer="italian"),
        Language("ja", "Japanese", "Jpan", spaced=False),
        Language("km", "Khmer", "Khmr", spaced=False),
        Language("ko", "Korean", "Kore"),
        Language("ms", "Malay"),
        Language("nl", "Dutch", stemmer="dutch"),
        Language("no", "Norwegian", stemmer="norwegian"),
        Language("pl", "Polish"),
        Language("pt", "Portuguese", stemmer="portuguese"),
        Language("ro", "Romanian", stemmer="romanian"),
        Language("ru", "Russian", "Cyrl", stemmer="russian"),
        Language("sv", "Swedish", stemmer="swedish"),
        Language("sw", "Swahili"),
        Language("ta", "Tamil", "Taml", stemmer="tamil"),
        Language("te", "Telugu", "Telu"),
        Language("th", "Thai", "Thai", spaced=False),
        Language("tr", "Turkish", stemmer="turkish"),
        Language("ur", "Urdu", "Arab", "rtl"),
        Language("vi", "Vietnamese"),
        Language("yo", "Yoruba"),
        Language("zh", "Chinese", "Hans", spaced=False),
    )
}

# The languages and pairs (query, document) of 2305.05295, table of language pairs.
SEEN = ("en", "de", "ru", "ar", "nl", "it")
UNSEEN = ("fr", "hi", "id", "ja", "pt", "es", "vi", "zh")


def pair(text: str) -> tuple[str, str]:
    """Query and document language of a pair written `en-de`."""
    query, _, document = text.partition("-")
    return query, document


CLIR_SEEN = tuple(map(pair, ("en-de", "en-it", "en-ar", "en-ru", "de-it", "de-nl", "de-ru", "ar-it", "ar-ru")))
CLIR_UNSEEN = tuple(map(pair, ("fr-en", "id-nl", "es-fr", "en-pt", "de-vi", "it-zh", "fr-pt", "id-vi", "pt-zh")))
MOIR_SEEN = tuple((code, code) for code in ("en", "de", "it", "nl", "ru", "ar"))
MOIR_UNSEEN = tuple((code, code) for code in ("fr", "id", "es", "pt", "zh"))
# The mark of "many languages in one pool" in place of a code; the three MLIR settings of the paper.
MIXED = "xx"
MLIR = ((MIXED, "en"), ("en", MIXED), (MIXED, MIXED))


def language(code: str) -> Language:
    """The language of a code.

    Raises:
        CslabError: for a code that is not known.
    """
    if code not in LANGUAGES:
        hint = nearest(code, list(LANGUAGES))
        raise CslabError(f"language '{code}' is not known; {hint} (add others with cslab.languages.register)")
    return LANGUAGES[code]


def register(new: Language) -> None:
    """Makes a further language known; an existing code is replaced."""
    LANGUAGES[new.code] = new


def setting(query_lang: str, doc_lang: str) -> str:
    """`MoIR`, `CLIR` or `MLIR`, from the languages alone (`MIXED` stands for a pool of many)."""
    if MIXED in (query_lang, doc_lang):
        return "MLIR"
    return "MoIR" if query_lang == doc_lang else "CLIR"
