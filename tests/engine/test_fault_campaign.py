"""The campaign itself, for a moment."""

import pytest

from tests.engine.fault_campaign import PHASES, campaign


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(tmp_path):
    records, losses = campaign(20, tmp_path, seed=1)
    assert losses == []
    assert len(records) == 20
    assert {r['phase'] for r in records} <= set(PHASES)
