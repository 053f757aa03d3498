"""The backbones of mmpretrain and timm, for the ``custom_imports`` of a config.

Not imported with the package: mmpretrain and timm are optional.
"""

from mmseg_pan.errors import UserError

try:
    import mmpretrain.models  # noqa: F401
# A torchvision that does not fit torch stops with RuntimeError ("operator
# torchvision::nms does not exist").
except (ImportError, RuntimeError) as error:
    raise UserError(
        f'The config takes its backbone from mmpretrain, which cannot be imported ({error}); type '
        '"pip install -r requirements/mmpretrain.txt".'
    ) from error
