"""A small cross-attention head over the states of two towers: re-ranks the first images of a dual encoder.

Every token of a text looks at every patch (or place) of an image; what they find is averaged into one logit, which is
added to the dual encoder's cosine, so that an untrained head keeps the dual encoder's order. Both towers stay as they
are. Works with whatever `Towers` holds: BERT and ResNet of the scenes, CLIP, SigLIP. Saved as `head.safetensors` with
its sizes in `head.json`.

    head = CrossAttention.of(encoder, states, width=64)
    scores = pair_scores(head, encoder, texts, states, text_rows, image_rows, cosines)          # (pairs,)
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cslab.ranking.dual_encoder import DualEncoder
from cslab.ranking.precision import choose_precision, computing_in
from cslab.store import CslabError, atomic_path, read_json, write_json

HEADS = 4
START = 10.0  # what the cosine counts at first
SIZES = ("text_width", "image_width", "places", "width", "layers")


class CrossAttention(nn.Module):
    """Texts' and images' states in, logits out."""

    def __init__(self, text_width: int, image_width: int, places: int, width: int = 64, layers: int = 1) -> None:
        """Makes an untrained head.

        Args:
            text_width, image_width: of the towers' states.
            places: patches of an image, or places of its map.
            width: of the head, a multiple of 4.
            layers: of attention.
        """
        super().__init__()
        if width % HEADS:
            raise CslabError(f"cross-attention: width {width} is no multiple of {HEADS}; choose one that is")
        self.sizes = dict(zip(SIZES, (text_width, image_width, places, width, layers), strict=True))
        self.text = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        self.image = nn.Sequential(nn.LayerNorm(image_width), nn.Linear(image_width, width))
        # A convolution's map does not say where its places are.
        self.places = nn.Parameter(0.02 * torch.randn(places, width))
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(width, HEADS, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        nn.init.zeros_(self.out[1].weight)
        # As SigLIP's: nearly all pairs do not belong together. It changes no order.
        nn.init.constant_(self.out[1].bias, -START)
        self.first_stage = nn.Parameter(torch.tensor(START))

    @classmethod
    def of(cls, encoder: DualEncoder, states: Tensor, width: int = 64, layers: int = 1, seed: int = 0):
        """A head for an encoder and the states of its images, (images, places, width), weights drawn from the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = cls(int(encoder.model.config.hidden_size), states.shape[2], states.shape[1], width, layers)
        return head.to(encoder.device)

    def forward(self, text: Tensor, counted: Tensor, image: Tensor, cosine: Tensor) -> Tensor:
        """Logits of pairs, (pairs,).

        Args:
            text: (pairs, tokens, text width).
            counted: (pairs, tokens) bool, false for padding.
            image: (pairs, places, image width).
            cosine: (pairs,) of the dual encoder.
        """
        states, seen = self.text(text), self.image(image) + self.places
        for layer in self.layers:
            states = layer(states, seen, tgt_key_padding_mask=~counted)
        mask = counted[:, :, None].to(states.dtype)
        pooled = (states * mask).sum(1) / mask.sum(1).clamp_min(1.0)
        return self.out(pooled)[:, 0].float() + self.first_stage * cosine


def pair_scores(
    head: CrossAttention,
    encoder: DualEncoder,
    texts: Sequence[str],
    states: Tensor,
    text_rows: np.ndarray,
    image_rows: np.ndarray,
    cosines: np.ndarray,
    max_length: int | None = None,
    batch: int = 256,
    precision: str = "fp32",
) -> np.ndarray:
    """Logits of (text, image) pairs, (pairs,) float32; each batch encodes its texts once.

    Args:
        head: trained for this encoder.
        encoder: whose states it reads.
        texts: that `text_rows` (pairs,) are numbers of.
        states: of images, (images, places, width), that `image_rows` (pairs,) are numbers of.
        text_rows, image_rows: which text goes with which image.
        cosines: (pairs,) of the dual encoder.
        max_length: tokens of a text (default: the encoder's).
        batch: pairs at a time.
        precision: "auto", "fp32" or "bf16".
    """
    kind, _ = choose_precision(precision, encoder.device)
    lengths = np.array([len(text) for text in texts])
    order = np.lexsort((text_rows, lengths[text_rows]))  # like lengths together, a text's pairs one after the other
    found, device = np.empty(len(order), np.float32), encoder.device
    head.eval()
    encoder.model.eval()
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        distinct, which = np.unique(text_rows[rows], return_inverse=True)
        inputs = encoder.tokens([texts[row] for row in distinct], max_length)
        with torch.inference_mode(), computing_in(head, kind):
            hidden, counted = encoder.model.text_states(**{name: t.to(device) for name, t in inputs.items()})
            image = states[torch.from_numpy(image_rows[rows])].to(device).float()
            cosine = torch.from_numpy(cosines[rows]).to(device)
            at = torch.from_numpy(which).to(device)
            found[rows] = head(hidden[at], counted[at], image, cosine).float().cpu().numpy()
    return found


def save_head(head: CrossAttention, folder: str | Path) -> None:
    """Writes weights and sizes; the sizes, which mark a whole head, come last."""
    from safetensors.torch import save_file

    with atomic_path(Path(folder) / "head.safetensors") as temporary:
        save_file({name: tensor.contiguous() for name, tensor in head.state_dict().items()}, temporary)
    write_json(Path(folder) / "head.json", head.sizes)


def load_head(folder: str | Path, device: str | torch.device = "cpu") -> CrossAttention:
    """Reads a head that `save_head` wrote.

    Raises:
        CslabError: if there is none, or weights and sizes do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    sizes = read_json(folder / "head.json")
    try:
        head = CrossAttention(**sizes)
        head.load_state_dict(load_file(folder / "head.safetensors"))
    except (OSError, RuntimeError, TypeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise CslabError(f"{folder}: no cross-attention head ({reason}); train it again") from None
    return head.to(device).eval()
