"""The model zoo's weights: their URLs, and the local files of downloads."""

from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.runner.checkpoint import (
    get_deprecated_model_names,
    get_external_models,
    get_mmcls_models,
)


class Download(NamedTuple):
    """A file of the zoo: its address, and its place on this machine."""

    url: str
    path: Path


def find_download(checkpoint: str) -> Download | None:
    """Resolve a checkpoint of a config to the file that mmengine would download.

    Args:
        checkpoint: As ``init_cfg`` has it: 'open-mmlab://NAME', 'mmcls://NAME' or a URL.

    Returns:
        The file; None for a path, and for a name that the zoo does not have.
    """
    scheme, _, name = checkpoint.partition('://')
    if scheme in ('http', 'https'):
        url = checkpoint
    elif scheme in ('open-mmlab', 'openmmlab'):
        url = get_external_models().get(get_deprecated_model_names().get(name, name))
    elif scheme == 'mmcls':
        url = get_mmcls_models().get(name)
    else:
        url = None
    if not url:
        return None
    return Download(url, Path(torch.hub.get_dir()) / 'checkpoints' / url.rsplit('/', 1)[-1])
