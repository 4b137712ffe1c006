"""The two towers of a dual encoder as one module: token ids or pixels in, vectors in a common space out.

Three kinds of models of transformers serve as towers: joint ones that hold both (CLIP, SigLIP, SigLIP 2, AltCLIP,
VisionTextDualEncoder and whatever else has `get_text_features` and `get_image_features`), text encoders that are pooled
over tokens, and image encoders whose map of features is flattened (so that places in the picture survive). Towers that
were not trained together get a linear head each. Reads and writes nothing; see `dual_encoder.py` for folders.

    towers = Towers(text=bert, image=resnet, pooling="mean", width=64)
    towers(input_ids=ids, attention_mask=mask).shape, towers.image_vectors(pixel_values=pixels).shape
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from cslab.ranking.sentence_recipe import POOLINGS
from cslab.store import CslabError, nearest

NO_IMAGES = "this dual encoder has no image tower; load a CLIP or SigLIP model, or give it one"
START = (2.6593, -10.0)  # log of 1 / 0.07 (CLIP) and the bias of SigLIP


class Towers(nn.Module):
    """A text tower, an image tower (or none), their heads, and the temperature and bias of the loss.

    Called with token ids it is the text tower, so that whatever moves the embeddings of a text encoder works on it.
    """

    def __init__(
        self,
        text: nn.Module,
        image: nn.Module | None = None,
        pooling: str = "mean",
        width: int | None = None,
        features: int | None = None,
    ) -> None:
        """Puts towers together.

        Args:
            text: a model of transformers; with `image` the same object, a joint one.
            image: a model of transformers, or None for text alone.
            pooling: of a text tower of its own: mean over tokens, or the first token.
            width: size of the common space, which both heads lead to; None for no heads.
            features: numbers that the image tower gives per image, where it has a head.
        """
        super().__init__()
        if pooling not in POOLINGS:
            raise CslabError(f"towers: pooling '{pooling}' is not offered; {nearest(pooling, POOLINGS)}")
        self.text, self.image, self.pooling, self.joint = text, image, pooling, text is image
        if self.joint:
            self.scale, self.bias = text.logit_scale, getattr(text, "logit_bias", None)
        else:
            self.scale = nn.Parameter(torch.tensor(START[0]))
            self.bias = None
        if self.bias is None:
            self.bias = nn.Parameter(torch.tensor(START[1]))
        self.text_head = nn.Linear(text.config.hidden_size, width, bias=False) if width else None
        self.image_head = nn.Linear(features, width, bias=False) if width and image is not None else None

    @property
    def config(self) -> Any:
        """The configuration of the text tower."""
        return self.text.config.text_config if self.joint else self.text.config

    @property
    def masked(self) -> bool:
        """Whether the text tower reads an attention mask; SigLIP was trained on padding as on words."""
        return not self.text.config.model_type.startswith("siglip")

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **others: Tensor) -> Tensor:
        """Text vectors, (texts, d), not scaled to length one."""
        inputs = {"input_ids": input_ids, **others} | ({"attention_mask": attention_mask} if self.masked else {})
        if self.joint:
            return _vectors(self.text.get_text_features(**inputs))
        hidden = self.text(**inputs).last_hidden_state
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            mask = attention_mask[:, :, None].to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp_min(1e-9)
        return pooled if self.text_head is None else self.text_head(pooled)

    def image_vectors(self, **pixels: Tensor) -> Tensor:
        """Image vectors, (images, d), not scaled to length one.

        Raises:
            CslabError: for an encoder of text alone.
        """
        if self.image is None:
            raise CslabError(NO_IMAGES)
        if self.joint:
            return _vectors(self.image.get_image_features(**pixels))
        found = self.image(**pixels).last_hidden_state.flatten(1)
        return found if self.image_head is None else self.image_head(found)

    def text_states(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """What the text tower knows of each token, (texts, tokens, width), and which ones count, (texts, tokens)."""
        inputs = {"input_ids": input_ids} | ({"attention_mask": attention_mask} if self.masked else {})
        tower = self.text.text_model if self.joint else self.text
        counted = attention_mask.bool() if self.masked else torch.ones_like(attention_mask, dtype=torch.bool)
        return tower(**inputs).last_hidden_state, counted

    def image_states(self, **pixels: Tensor) -> Tensor:
        """What the image tower knows of each patch, or place of its map: (images, places, width)."""
        if self.image is None:
            raise CslabError(NO_IMAGES)
        hidden = (self.image.vision_model if self.joint else self.image)(**pixels).last_hidden_state
        return hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden

    def get_input_embeddings(self) -> nn.Module:
        """The text tower's table of token embeddings."""
        tower = self.text.text_model if self.joint else self.text
        for name, module in tower.named_modules():
            if name.endswith(("token_embedding", "word_embeddings", "embed_tokens", "tok_embeddings")):
                return module
        raise CslabError(f"{type(self.text).__name__}: no table of token embeddings found in its text tower")

    def patches(self) -> nn.Module:
        """The image tower's first convolution, which cuts pixels into patches: what token embeddings are to a text.

        Raises:
            CslabError: for a tower that has none.
        """
        tower = self.image.vision_model if self.joint else self.image
        found = next((module for module in tower.modules() if isinstance(module, nn.Conv2d)), None)
        if found is None:
            raise CslabError(f"{type(self.image).__name__}: its image tower has no convolution that cuts out patches")
        return found

    def positions(self) -> int:
        """The longest text, in tokens, that the text tower has positions for."""
        padding = 2 if self.config.model_type in ("xlm-roberta", "roberta", "camembert", "xlm-roberta-xl") else 0
        return int(getattr(self.config, "max_position_embeddings", 512)) - padding

    # --- which weights are trained ---------------------------------------------------------------------------

    def image_parameters(self) -> Iterator[nn.Parameter]:
        """The weights of the image tower and its head."""
        if self.image is None:
            return
        for name, parameter in self.image.named_parameters():
            if not self.joint or name.startswith(("vision_model.", "visual_projection")):
                yield parameter
        if self.image_head is not None:
            yield from self.image_head.parameters()

    def freeze(self, image: bool, scale: bool) -> None:
        """Marks what is not trained: the image tower, and temperature and bias; everything else is."""
        self.requires_grad_(True)
        for parameter in self.image_parameters():
            parameter.requires_grad_(not image)
        for parameter in (self.scale, self.bias):
            parameter.requires_grad_(not scale)

    def train(self, mode: bool = True) -> "Towers":
        """Training mode for the towers that are trained; a frozen one keeps its running means and has no dropout."""
        super().train(mode)
        if mode and self.image is not None and not any(p.requires_grad for p in self.image_parameters()):
            (self.image.vision_model if self.joint else self.image).eval()
        return self


def _vectors(found: Any) -> Tensor:
    """The vectors themselves: transformers 4 gives them bare, 5 as the pooled output of a record."""
    return found if isinstance(found, Tensor) else found.pooler_output
