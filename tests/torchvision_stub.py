"""Makes ``import torchvision`` work where its compiled half does not fit torch.

    python -m pytest -p tests.torchvision_stub ...

The usual wheel of torchvision on a CPU build of torch stops with "operator
torchvision::nms does not exist": its Python half describes operators that its library,
built for CUDA, did not register. Neither timm nor mmpretrain calls one of them, so a
declaration without an implementation is enough to import them. It is a plugin because
mmseg imports mmpretrain where it finds it: too early for a conftest.
"""

import importlib.util
import re
from pathlib import Path

import torch

found = importlib.util.find_spec('torchvision')
if found is not None and torch.version.cuda is None:
    described = Path(found.origin).with_name('_meta_registrations.py').read_text()
    pattern = r'(?:register_meta|register_fake)\("(?:torchvision::)?(\w+)"'
    library = torch.library.Library('torchvision', 'DEF')  # kept: they live as long as it does
    for name in set(re.findall(pattern, described)):
        library.define(f'{name}(...) -> Tensor')

import torchvision  # noqa: F401  fails here, rather than skip the tests that need it
