"""What tests of several folders share: one run of every notebook on the smoke profile."""

import pytest

from tests.smoke import Smoke, run_smoke


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Smoke:
    """Every notebook, run headless on the smoke profile; made once, not to be changed."""
    return run_smoke(tmp_path_factory.mktemp("smoke"))
