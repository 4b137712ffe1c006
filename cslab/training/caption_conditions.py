"""The training conditions of image–text models as a table, and the texts that an item shows under each.

An item is an image (or, without images, what an English caption stands for) with its captions. In each epoch a caption
of it is drawn, switched or translated, as a pure function of (seed, epoch, item). Its partner is the image, another
English caption of the item, or the vector that a teacher makes of the caption.

    views = Views(captions, CAPTION_CONDITIONS["ML-CS + align"], 1, switcher(lexicons, policy), paired=False, items=ids)
    views(0, [0])               # [("Zwei rot balls on the left.", "Two red balls on the left.")]
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cslab.collections.captions import Captions
from cslab.store import CslabError, nearest
from cslab.switching.draw import Key
from cslab.switching.switch import Switcher

SOURCE = "en"


@dataclass(frozen=True)
class CaptionCondition:
    """How an image–text model is trained and asked.

    Attributes:
        name: as in tables.
        text: "none" (not trained), "source" (English), "switched" or "translated".
        align: an alignment loss between switched captions and their originals (ContrastiveMix).
        robust: a row of `cslab.training.robust.ROBUST` that works on embeddings.
        teacher: follow the vectors that the untrained model makes of the English captions, by squared error.
        test_text: "as is", or "translated" into English word by word, with the lexicons turned round.
    """

    name: str
    text: str = "source"
    align: bool = False
    robust: str = "none"
    teacher: bool = False
    test_text: str = "as is"


CAPTION_CONDITIONS: dict[str, CaptionCondition] = {
    row.name: row
    for row in (
        CaptionCondition("As it is", text="none"),
        CaptionCondition("Zero-shot"),
        # A model of its own in the table; its training is that of Zero-shot, and is not repeated.
        CaptionCondition("Translate-test", test_text="translated"),
        CaptionCondition("ML-CS", text="switched"),
        CaptionCondition("ML-CS + align", text="switched", align=True),
        CaptionCondition("ML-CS + FGM", text="switched", robust="fgm"),
        CaptionCondition("ML-CS + FreeLB", text="switched", robust="freelb"),
        CaptionCondition("ML-CS + align + FGM", text="switched", align=True, robust="fgm"),
        CaptionCondition("ML-CS, teacher", text="switched", teacher=True),
        CaptionCondition("Fine-tuning", text="translated"),
    )
}


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
    """Refuses a name that is no row of the table."""
    for name in names:
        if name not in CAPTION_CONDITIONS:
            raise CslabError(f"{where}: condition '{name}' is not known; {nearest(name, list(CAPTION_CONDITIONS))}")
