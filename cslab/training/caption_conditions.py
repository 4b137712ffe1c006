"""The training conditions of image–text models as a table, and the texts that an item shows under each.

An item is an image (or, without images, what an English caption stands for) with its captions. In each epoch a caption
of it is drawn, switched or translated, as a pure function of (seed, epoch, item). Its partner is the image, another
English caption of the item, or the vector that a teacher makes of the caption.

    condition = caption_condition("ML-CS + align + FreeLB (both)")
    views = Views(captions, condition, 1, switcher(lexicons, policy), paired=False, items=ids)
    views(0, [0])               # [("Zwei rot balls on the left.", "Two red balls on the left.")]
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cslab.collections.captions import Captions
from cslab.store import CslabError, nearest
from cslab.switching.draw import Key
from cslab.switching.policy import POLICIES, Policy, policy_named, with_rate
from cslab.switching.switch import Switcher
from cslab.training.ball import MOVED

SOURCE = "en"
SYNONYMS = "RS-DA"  # the policy that exchanges words for synonyms
TITLED = ("Wiki-CS", "Wiki-CS faithful")  # policies that switch into titles of an encyclopedia


@dataclass(frozen=True)
class CaptionCondition:
    """How an image–text model is trained and asked.

    Attributes:
        name: as in tables.
        text: "none" (not trained), "source" (English), "switched" or "translated".
        align: an alignment loss between switched captions and their originals (ContrastiveMix).
        robust: a method of `cslab.training.robust` that works on embeddings.
        moved: whose embeddings it moves: those of the "text", of its "image", or of "both".
        teacher: follow the vectors that the untrained model makes of the English captions, by squared error.
        test_text: "as is", or "translated" into English word by word, with the lexicons turned round.
        policy: by which switched captions are switched, one of `cslab.switching.policy.policy_named`.
    """

    name: str
    text: str = "source"
    align: bool = False
    robust: str = "none"
    moved: str = "text"
    teacher: bool = False
    test_text: str = "as is"
    policy: str = "ML-CS"


CAPTION_CONDITIONS: dict[str, CaptionCondition] = {
    row.name: row
    for row in (
        CaptionCondition("As it is", text="none"),
        CaptionCondition("Zero-shot"),
        # A model of its own in the table; its training is that of Zero-shot, and is not repeated.
        CaptionCondition("Translate-test", test_text="translated"),
        *(CaptionCondition(name, text="switched", policy=name) for name in POLICIES),
        CaptionCondition("ML-CS, teacher", text="switched", teacher=True),
        CaptionCondition("Fine-tuning", text="translated"),
    )
}

# What the name of a condition may go on with. InfoNCE ranks the images of a batch: that is what SMART keeps smooth,
# with a small weight, because at 1 it outweighs InfoNCE and all vectors become alike.
ALIGNED = "align"
METHODS = {
    "RS-RP": "rs-rp",
    "FGM": "fgm",
    "PGD": "pgd",
    "FreeLB": "freelb",
    "SMART": "smart(divergence=softmax, weight=0.1)",
}
FURTHER = {
    name + (f" ({moved})" if moved != "text" else ""): {"robust": method, "moved": moved}
    for name, method in METHODS.items()
    for moved in MOVED
}


def caption_condition(name: str) -> CaptionCondition:
    """A condition by name: a row of the table, and joined by ` + ` alignment and a robust method.

    >>> caption_condition("CoSDA-ML + align + FreeLB (both)").moved
    'both'

    Args:
        name: `Zero-shot`, `ML-CS + FGM`, `BL-CS de-en`, `M3P + FreeLB (image)`, …

    Raises:
        CslabError: for a name that is not known, or a condition that nothing can be joined to.
    """
    base, *parts = name.split(" + ")
    bilingual = base.startswith("BL-CS ")
    if base not in CAPTION_CONDITIONS and not bilingual:
        raise CslabError(f"condition '{name}' is not known; {nearest(base, [*CAPTION_CONDITIONS, 'BL-CS de-en'])}")
    if bilingual:
        policy_named(base)
    found = CAPTION_CONDITIONS.get(base) or CaptionCondition(base, text="switched", policy=base)
    if parts and (found.text == "none" or found.teacher or found.test_text != "as is"):
        raise CslabError(
            f"condition '{name}': nothing can be joined to '{base}'; join it to a condition that is trained"
        )
    aligned = parts[:1] == [ALIGNED]
    rest = parts[1:] if aligned else parts
    if lost := next((part for part in rest if part not in FURTHER), None):
        raise CslabError(f"condition '{name}': '{lost}' is not known; {nearest(lost, [ALIGNED, *FURTHER])}")
    if len(rest) > 1:
        raise CslabError(f"condition '{name}': two robust methods; join one, e.g. '{base} + {rest[0]}'")
    return replace(found, name=name, align=aligned, **(FURTHER[rest[0]] if rest else {}))


def caption_policy(condition: CaptionCondition, switched: Sequence[str], probability: float | None = None) -> Policy:
    """The policy that a condition's captions are switched by.

    Args:
        condition: one that switches.
        switched: languages in place of the policy's own, where it is for several of any.
        probability: p of switching words instead of the policy's own; p of titles is the policy's own.
    """
    policy = policy_named(condition.policy)
    if policy.query_languages is None and set(policy.languages) != {policy.source}:
        kept = (policy.source,) if policy.source in policy.languages else ()
        policy = replace(policy, languages=(*kept, *switched))
    return policy if probability is None or condition.policy in TITLED else with_rate(policy, probability)


@dataclass(frozen=True)
class Views:
    """What items read in an epoch.

    Attributes:
        captions: where the texts are.
        condition: a row of the table.
        seed: of the run.
        switcher: for conditions that switch.
        paired: whether the partner is another English caption.
        languages: that translations are drawn from.
        items: images, in order; examples are their places.
    """

    captions: Captions
    condition: CaptionCondition
    seed: int
    switcher: Switcher | None
    paired: bool
    languages: tuple[str, ...] = ()
    items: tuple[str, ...] = field(default=())

    def __call__(self, epoch: int, rows: Sequence[int]) -> list[tuple[str, ...]]:
        """The texts of some examples: text, partner if it is one, original if the loss aligns."""
        return [self._item(epoch, self.items[row]) for row in rows]

    def _item(self, epoch: int, item: str) -> tuple[str, ...]:
        own, key = self.captions.texts[SOURCE][item], Key(self.seed, epoch, item)
        draws = key.number()
        # A teacher's vectors are made of first captions.
        first = 0 if self.condition.teacher else draws % len(own)
        other = (first + 1 + (draws >> 8) % (len(own) - 1)) % len(own) if len(own) > 1 else first
        text, partner = own[first], own[other]
        if self.condition.text == "switched":
            text, partner = self.switcher.text(text, key, "query"), self.switcher.text(partner, key, "document")
        elif self.condition.text == "translated":
            text = self._translation(item, draws >> 16, first)
        partners = (partner,) if self.paired and not self.condition.teacher else ()
        return (text, *partners, *((own[first],) if self.condition.align else ()))

    def _translation(self, item: str, draw: int, first: int) -> str:
        held = [code for code in self.languages if item in self.captions.texts[code]]
        if not held:
            raise CslabError(f"{self.captions.name}: image '{item}' has no translated caption; leave it out")
        found = self.captions.texts[held[draw % len(held)]][item]
        return found[first % len(found)]


def check_caption_conditions(names: Sequence[str], where: str) -> None:
    """Refuses a name that is no condition."""
    for name in names:
        try:
            caption_condition(name)
        except CslabError as error:
            raise CslabError(f"{where}: {error}") from None
