"""Pictures of the widgets for the README, taken in a real JupyterLab from what a profile has made.

Reads the notebooks and the outputs of a profile (what is missing is made by the notebooks); writes
`notebooks/pictures/*.png`, each below 150 kB.

    python -m tests.browser.pictures demo                 # make pictures
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from cslab.config import outputs_folder
from cslab.store import CslabError, atomic_path
from tests.browser.chromium import chromium, lab, run_all, set_notebooks, tab
from tests.browser.controls import EXPLORERS
from tests.real import ROOT

FOLDER = ROOT / "notebooks" / "pictures"
# Name → notebook, and which of its widgets.
PICTURES = {
    "switch": ("03_switch_text", 0),
    "matrix": ("05_evaluate", 0),
    "errors": ("05_evaluate", 1),
    "attack": ("07_attack_rankers", 0),
    "images": ("09_search_images", 1),
}
COLOURS, LARGEST = 200, 150_000


def take(profile: str) -> None:
    """Takes every picture."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        set_notebooks(work / "notebooks", profile)
        with lab(work / "notebooks", work, outputs_folder()) as address, chromium() as browser:
            for name in dict.fromkeys(notebook for notebook, _ in PICTURES.values()):
                with tab(browser, width=1300, height=2200) as opened:
                    run_all(opened.page, f"{address}/lab/tree/{name}.ipynb?reset")
                    for picture, (notebook, number) in PICTURES.items():
                        if notebook == name:
                            _keep(opened.page.locator(EXPLORERS).nth(number).screenshot(), FOLDER / f"{picture}.png")


def _keep(shot: bytes, path: Path) -> None:
    """Writes a screenshot with fewer colours, which makes it a quarter as large."""
    made = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(made, "PNG", optimize=True)
    if made.tell() > LARGEST:
        raise CslabError(f"{path}: {made.tell():,} bytes, more than {LARGEST:,}; take fewer COLOURS")
    with atomic_path(path) as temporary:
        temporary.write_bytes(made.getvalue())
    print(f"{path.relative_to(ROOT)}: {made.tell() // 1000} kB")


if __name__ == "__main__":
    take(*sys.argv[1:])
