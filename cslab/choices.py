"""Settings of encoders that are used as they are, and of teachers; and the base of all settings of a profile.

>>> TeacherSettings(models=["me5", {"run": "bm25.trec"}]).models[1].text
'bm25.trec'
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cslab.store import CslabError


class Strict(BaseModel):
    """Base of all settings: no unknown key, no silent conversion of one type into another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EncoderChoice(Strict):
    """An encoder that is used as it is: `me5`, a hub id or a folder. The kind is told where its files do not tell it.

    In a profile a bare name is enough: `me5` stands for `{name: me5}`.
    """

    name: str = ""  # of either kind, as its files tell
    dual_encoder: str = ""  # scores by the cosine of two vectors
    cross_encoder: str = ""  # scores by the logit of its head

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> "EncoderChoice":
        if len(given := self.model_dump(exclude_defaults=True)) != 1:
            raise CslabError(f"encoder {given}: give one name, e.g. me5 or {{cross_encoder: FOLDER}}")
        return self

    @property
    def text(self) -> str:
        """The name, hub id, folder or file."""
        return next(iter(self.model_dump(exclude_defaults=True).values()))


class TeacherModel(EncoderChoice):
    """One of the models of a teacher: an encoder, or a run whose scores are taken."""

    run: str = ""  # a TREC run of the training questions


class TeacherSettings(Strict):
    """Whose scores of the English text are the labels of conditions that end in `+ teacher`."""

    models: list[TeacherModel] = Field(min_length=1)  # of several, the mean of scores standardised in each group
    scale: float | None = Field(None, gt=0)  # of scores; empty: 40 for the cosine of a dual encoder, else 1
    bonus: float = Field(3.0, ge=0)  # added to the label of a judged document
    loss: Literal["kl", "margin-mse"] = "kl"
    margin: float | None = Field(None, ge=0)  # how far below the positive's score that of a hard negative must be

    @model_validator(mode="before")
    @classmethod
    def _structured(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise CslabError(
                f"training.teacher: '{value}' is one name; write training.teacher={{models: [{value}]}} and name "
                "conditions such as 'ML-CS + teacher'"
            )
        return value

    @model_validator(mode="after")
    def _comparable(self) -> "TeacherSettings":
        if self.margin is not None and len(self.models) > 1:
            raise CslabError("training.teacher.margin: scores of several models are no scores of one; name one model")
        return self
