"""Warnings of the stack's own modules that say nothing about a user's code or data."""

import re
import warnings

#: Module that warns, and a pattern that its message begins with. All of them are UserWarnings.
KNOWN = (
    # mmcv-lite lacks compiled operators; no network of this package uses one.
    ('mmcv.cnn.bricks.transformer', 'Fail to import ``MultiScaleDeformableAttention``'),
    # The zoo's loss is a mean over all pixels, ignored ones too, and so is that of our configs.
    ('mmseg.models.losses.cross_entropy_loss', 'Default ``avg_non_ignore`` is False'),
    # Pictures are painted where --show or --show-dir asks for them.
    ('mmseg.engine.hooks.visualization_hook', 'The draw is False'),
    # The summary of a training says it, once.
    ('torch.utils.data.dataloader', r'This DataLoader will create \d+ worker processes'),
    # OpenMMLab's releases call these themselves.
    ('mmseg.models.builder', '``build_loss`` would be deprecated soon'),
    ('mmengine.utils.package_utils', 'pkg_resources is deprecated as an API'),
)


def ignore_known_warnings() -> None:
    """Ignore each warning of :data:`KNOWN` by category, module and text, and no other."""
    for module, text in KNOWN:
        warnings.filterwarnings('ignore', text, UserWarning, f'{re.escape(module)}$')
