"""A folder with a page that segments photographs in the browser, for any static host."""

import hashlib
import json
import os
import shutil
from importlib import resources
from pathlib import Path

from mmseg.models.segmentors import EncoderDecoder

from mmseg_pan.datasets.masks import class_colours
from mmseg_pan.errors import UserError
from mmseg_pan.files import disk_errors_explained, remove_leftovers, temporary_name
from mmseg_pan.outputs import check_writable

from .synthetic import TOLERANCE
from .web_network import LONGEST, decision_limit, padding_rule, page_network, resizing_steps
from .web_runtime import runtime_files

#: What the page knows of its network.
ABOUT = 'about.json'
_RUNTIME = 'runtime'


def write_site(
    model: EncoderDecoder,
    out: Path,
    runtime: Path | None = None,
    tolerance: float = TOLERANCE,
) -> Path:
    """Write the page, its network and the run time into a folder.

    Args:
        model: From :func:`mmseg_pan.inference.load_segmentor`, on the CPU.
        out: The folder. An older page is replaced when the new one is complete.
        runtime: Where onnxruntime-web is, see :func:`~.web_runtime.runtime_files`.
        tolerance: Share of the pixels of synthetic images that may get another class.

    Returns:
        The folder.

    Raises:
        UserError: If the folder holds anything else, the model or its pipeline is of a kind that
            the page cannot run, or the run time is missing; nothing is written then.
    """
    check_site(out)
    about = describe_page(model)
    # Renamed: hosts that do not know .mjs serve it as bytes, which browsers then refuse to run.
    files = {name.replace('.mjs', '.js'): data for name, data in runtime_files(runtime).items()}
    network = page_network(model, tolerance)
    name = f'network-{hashlib.sha256(network).hexdigest()[:8]}.onnx'
    # Sizes, since a compressed response does not say how much there is to come.
    sizes = {name: len(network)} | {f'{_RUNTIME}/{key}': len(data) for key, data in files.items()}
    about |= dict(network=name, sizes=sizes)
    with disk_errors_explained(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out.parent)
        draft = temporary_name(out)
        try:
            shutil.copytree(_page(), draft)
            (draft / name).write_bytes(network)
            (draft / _RUNTIME).mkdir()
            for key, data in files.items():
                (draft / _RUNTIME / key).write_bytes(data)
            (draft / ABOUT).write_text(json.dumps(about, ensure_ascii=False, indent=1))
            _replace(draft, out)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return out


def describe_page(model: EncoderDecoder) -> dict:
    """What the page has to know: classes, colours, and how the pipeline prepares a photograph.

    Raises:
        UserError: If the pipeline has a step that the page cannot do.
    """
    classes = list(model.dataset_meta['classes'])
    colours = class_colours(len(classes), model.dataset_meta.get('palette'))
    return dict(
        classes=classes,
        colours=colours[: len(classes)].tolist(),
        steps=resizing_steps(model.cfg.test_pipeline),
        padding=padding_rule(model),
        alignCorners=bool(model.align_corners),
        limit=decision_limit(model),
        longest=LONGEST,
    )


def check_site(out: Path) -> None:
    """Check that a folder is new, empty or an older page, before the work begins.

    Raises:
        UserError: If it is anything else, or cannot be written.
    """
    if os.path.lexists(out) and not out.is_dir():
        raise UserError(f'{out} is a file, and a page needs a folder; type another --out.')
    check_writable(out.parent)
    if out.is_dir() and any(out.iterdir()):
        try:
            about = json.loads((out / ABOUT).read_text())
            ours = {ABOUT, about['network'], _RUNTIME, *(path.name for path in _page().iterdir())}
        except (OSError, ValueError, KeyError, TypeError):
            ours = set()
        # Also what a person has added to a page, such as .git or CNAME.
        others = sorted(path.name for path in out.iterdir() if path.name not in ours)
        if others:
            raise UserError(
                f'{out} holds {others[0]}, which is not of a page that this tool wrote, and would '
                'be replaced; move it away, or type another --out.'
            )


def _page() -> Path:
    return Path(str(resources.files('mmseg_pan.export') / 'page'))


def _replace(draft: Path, out: Path) -> None:
    """Rename a complete folder; an older one goes when the new one has its name."""
    if not out.is_dir():
        os.rename(draft, out)
        return
    old = temporary_name(out.with_name(f'{out.name[:60]}.old'))
    os.rename(out, old)
    os.rename(draft, out)
    shutil.rmtree(old, ignore_errors=True)
