"""One Chromium and one JupyterLab for all browser tests: starting them takes longer than most of the tests."""

import shutil

import pytest

from tests.browser.chromium import PROFILE, SETTINGS, chromium, lab, set_notebook, set_notebooks
from tests.smoke import NUMBERED

LIVE = "live.ipynb"  # notebook 04 with one ranker that has not been trained yet, long enough to watch
LIVE_STEPS = 150


@pytest.fixture(scope="package")
def browser():
    """A headless Chromium."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def served(smoke, tmp_path_factory) -> str:
    """The address of a JupyterLab with the notebooks, set to a copy of what the smoke profile has made."""
    assert smoke.done.returncode == 0, smoke.done.stdout[-3000:]
    work = tmp_path_factory.mktemp("lab")
    shutil.copytree(smoke.outputs, work / "outputs")
    set_notebooks(work / "notebooks", "smoke")
    settings = ["name=live", "conditions=[Zero-shot]", f"training.steps={LIVE_STEPS}"]
    listed = ", ".join(f'\\"{setting}\\"' for setting in settings)
    values = {PROFILE: PROFILE.replace("demo", "smoke"), SETTINGS: SETTINGS.replace("[]", f"[{listed}]")}
    (training,) = (path for path in NUMBERED if path.name.startswith("04"))
    set_notebook(training, work / "notebooks" / LIVE, values)
    with lab(work / "notebooks", work, work / "outputs") as address:
        yield address
