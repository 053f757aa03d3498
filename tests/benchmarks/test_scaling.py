import json

import numpy as np
import pytest
from PIL import Image

from tests.paths import ROOT


@pytest.mark.slow
def test_tool_measures_and_draws(run_tool, tmp_path):
    picture = tmp_path / 'scaling.png'
    run_tool(
        'analysis_tools/scaling.py',
        ROOT / 'configs/pan/pan_r18-d16_toy.py',
        *('--sides', 32, 64, '--batches', 1, 2, '--workers', 0, 1),
        *('--samples', 8, '--rounds', 1, '--out', picture),
        OMP_NUM_THREADS='2',
    )
    found = json.loads(picture.with_suffix('.json').read_text())
    assert [len(row) for row in found['size']['ms'].values()] == [2]
    assert [len(row) for row in found['batch']['ms'].values()] == [2]
    assert len(found['workers']['samples/s']) == 2
    assert set(found['processes']) == {'1 process, 2 threads', '2 processes, 1 thread each'}
    numbers = [*found['workers']['samples/s'], *found['processes'].values()]
    assert min(numbers) > 0
    assert np.asarray(Image.open(picture).convert('L')).std() > 10
