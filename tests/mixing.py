"""What the tests of configs/mix share."""

import pytest
from mmengine.config import Config

from mmseg_pan import UserError
from tests.paths import ROOT

MIX = {path.name: path for path in sorted((ROOT / 'configs' / 'mix').glob('*.py'))}


def load_mix(name: str) -> Config:
    """Read a config of configs/mix for a machine without network: no pretrained weights.

    Skips the test where the config's backbone needs a library that is not here.
    """
    try:
        cfg = Config.fromfile(MIX[name])
    except UserError as error:
        pytest.skip(str(error))
    backbone = cfg.model.backbone
    backbone.pop('init_cfg', None)
    if 'pretrained' in backbone:
        backbone.pretrained = False
    return cfg
