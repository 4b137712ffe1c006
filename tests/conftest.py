"""What tests of several files share: one run of every notebook on the smoke profile, and a single thread.

Where files are shared out among processes, one of them runs the notebooks and begins with the tests that take longest;
others that need the run come last, when it is there.
"""

import os
from collections.abc import Iterator

import pytest

# Tests compare numbers to the bit, or with those of another library on the CPU; a GPU rounds differently. The tests of
# one are run by `CSLAB_TEST_GPU=1 python -m pytest -m gpu`.
if not os.environ.get("CSLAB_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

from cslab.processes import alone
from tests.smoke import Smoke, run_smoke


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    """Every notebook, run headless on the smoke profile; made once, not to be changed."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "smoke"
    with alone(place):
        return run_smoke(place)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order: several threads round differently."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest first, and what can use its run of the notebooks last."""

    def place(item: pytest.Item) -> int:
        needs = getattr(item, "fixturenames", ())
        return 0 if "served" in needs else 2 if "smoke" in needs else 1

    items.sort(key=place)
