"""Two families of distributions share the same import names; exactly one may be installed."""

from importlib import metadata

IMPORT_NAMES = ('mmengine', 'mmcv', 'mmsegmentation')


def installed(name: str) -> bool:
    """Whether a distribution of this name is installed."""
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_stack() -> None:
    """Raise an error unless exactly one complete stack is installed.

    Raises:
        ImportError: If not all of mmengine, mmcv and mmsegmentation come from one
            family.
    """
    openmmlab = [name for name in IMPORT_NAMES if installed(name)]
    onedl = [f'onedl-{name}' for name in IMPORT_NAMES if installed(f'onedl-{name}')]
    if openmmlab and onedl:
        raise ImportError(
            f'Both stacks are installed ({", ".join(openmmlab + onedl)}), and they '
            'overwrite each other\'s files; make a new environment and type "pip install '
            '-r requirements.txt" or "pip install -r requirements/openmmlab.txt" in it.'
        )
    if max(len(openmmlab), len(onedl)) < len(IMPORT_NAMES):
        raise ImportError(
            f'Found {", ".join(openmmlab + onedl) or "none"} of mmengine, mmcv and '
            'mmsegmentation; type "pip install -r requirements.txt".'
        )
