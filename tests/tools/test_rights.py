"""Every tool that writes: a folder without the right to write is one sentence, before the work."""

import json
import pickle
import shutil

import pytest
import torch

from tests.annotations.sources import triangles
from tests.conversion import tflite_file
from tests.mini_voc import make_mini_voc
from tests.paths import ROOT, TOY
from tests.rights import rights_are_checked, run_tools
from tests.tools.test_data_tools import assert_one_sentence

CONVERTER = 'dataset_converters/voc_aug.py'

#: Command lines of every tool that writes. {closed} may not be written, {new} lies below it.
LINES = {
    'predict.py': [
        '{image} --checkpoint {net} --out {closed}',
        '{image} --checkpoint {net} --out {new}',
    ],
    'test.py': [
        '{toy} {net} --work-dir {new}',
        '{toy} {net} --work-dir {closed}',
        '{toy} {net} --work-dir w --out {new}',
        '{toy} {net} --work-dir w --show-dir {new}',
        '{toy} {net} --work-dir w --report {new}',
    ],
    'train.py': ['{toy} --work-dir {new}', '{toy} --work-dir {closed}'],
    'demo.py': ['--data {data} --out {new}', '--data {new} --out w'],
    'run_experiments.py': [
        '{spec} --work-dir {new}',
        '{spec} --work-dir w --results {closed}/a.jsonl',
    ],
    'verify_dataset.py': ['{toy} --json {new}/a.json', '{toy} --plot {closed}/a.png'],
    'voc_server_archive.py': ['{maps} --root {data} --list val --out {new}/r.tgz'],
    'analysis_tools/accuracy_cost.py': ['{spec} --out {closed}/a.png'],
    'analysis_tools/analyze_logs.py': ['{logs} --out {closed}/a.png'],
    'analysis_tools/attention.py': ['{toy} {net} {image} --out {closed}/a.png'],
    'analysis_tools/browse_dataset.py': ['{toy} --output-dir {new}', '{toy} --output-dir {closed}'],
    'analysis_tools/confusion_matrix.py': ['{toy} {maps} --out {closed}/a.png'],
    'analysis_tools/scaling.py': ['{toy} --out {closed}/a.png'],
    'dataset_converters/annotations.py': [
        '{annotated} --out {new}',
        '{annotated} --out {closed}',
    ],
    'dataset_converters/toy_shapes.py': ['{new}', '{closed}/new/deep'],
    CONVERTER: ['{devkit} {sbd} --out_dir {new}', '{closed_devkit} {sbd}'],
    'deployment/export.py': [
        '{toy} {net} --out {new}/a',
        '{toy} {net} --format openvino --out {closed}/a',
        '{toy} {net} --format web --out {new}/a',
    ],
    'deployment/quantize.py': ['{toy} {xml} --out {new}/a'],
    'misc/draw_network.py': ['--out {closed}/a.png'],
    'misc/publish_model.py': ['{net} --out {new}/a.safetensors', '{net} --out {closed}/a.pth'],
    'model_converters/backbone2mmseg.py': ['{backbone} {new}/a.pth'],
    'model_converters/deeplab2mmseg.py': ['{deeplab} {backbone} h.pth {new}/a.pth'],
    'model_converters/tflite2mmseg.py': [
        '{tflite} {new}/a.pth h.pth',
        '{tflite} b.pth {closed}/h.pth',
    ],
}
#: They write nothing but lines on the terminal; the last two write to the repository alone.
NOTHING = {
    'analysis_tools/benchmark.py',
    'analysis_tools/get_flops.py',
    'analysis_tools/window_share.py',
    'deployment/parity.py',
    'misc/write_results.py',
    'quickstart.py',
}


def test_every_tool_is_here():
    found = {str(path.relative_to(ROOT / 'tools')) for path in (ROOT / 'tools').rglob('*.py')}
    assert found == set(LINES) | NOTHING


@pytest.fixture(scope='module')
def ended(tmp_path_factory, toy_root, toy_checkpoint, exported):
    """Run all of them; the results by command line, and the closed folders' contents."""
    pytest.importorskip('onnx', reason='requirements/deploy.txt is not installed')
    root = tmp_path_factory.mktemp('rights')
    mini = make_mini_voc(root / 'mini')
    closed_devkit = root / 'closed_devkit'
    shutil.copytree(mini.devkit, closed_devkit)
    (root / 'closed').mkdir()
    (root / 'maps').mkdir()
    for mask in (toy_root / 'SegmentationClass').glob('val*.png'):
        shutil.copy(mask, root / 'maps')
    torch.save({'conv1.weight': torch.zeros(1)}, root / 'resnet18.pth')
    tflite_file.write(root / 'x.tflite', tflite_file.deeplab())
    (root / 'log/vis_data').mkdir(parents=True)
    rows = [json.dumps(dict(step=step, loss=1.0)) for step in (1, 2)]
    (root / 'log/vis_data/scalars.json').write_text('\n'.join(rows))
    places = dict(
        toy=TOY,
        deeplab=ROOT / 'configs/pan/deeplabv3_mobilenet-v2-d16_voc12aug-513x513.py',
        net=toy_checkpoint,
        closed=root / 'closed',
        new=root / 'closed/new',
        image=next((toy_root / 'JPEGImages').iterdir()),
        data=toy_root,
        maps=root / 'maps',
        annotated=triangles(root / 'annotated', 4),
        logs=root / 'log',
        backbone=root / 'resnet18.pth',
        tflite=root / 'x.tflite',
        xml=exported(file_format='openvino'),
        spec=ROOT / 'configs/pan/results/quickstart.yaml',
        devkit=mini.devkit,
        sbd=mini.sbd,
        closed_devkit=closed_devkit,
    )
    closed = [root / 'closed', *(p for p in closed_devkit.rglob('*') if p.is_dir()), closed_devkit]
    before = sorted(path for folder in closed for path in folder.rglob('*'))
    for folder in closed:
        folder.chmod(0o555)
    try:
        if not rights_are_checked(root / 'closed'):
            pytest.skip('the rights of files do not hold here')
        script = root / 'voc_aug.py'  # the tool, with the miniature's sizes and checksums
        script.write_text(
            'import pickle, runpy\n'
            f'main = runpy.run_path({str(ROOT / "tools" / CONVERTER)!r})["main"]\n'
            'from mmseg_pan.cli import run_tool\n'
            f'run_tool(lambda: main(None, pickle.loads({pickle.dumps(mini.manifest)!r})))\n'
        )
        lines = [
            [script if tool == CONVERTER else tool, *line.format(**places).split()]
            for tool, line in CASES
        ]
        found = dict(zip(CASES, run_tools(lines, root, TOY_ROOT=str(toy_root)), strict=True))
        assert sorted(path for folder in closed for path in folder.rglob('*')) == before
    finally:
        for folder in closed:
            folder.chmod(0o755)
    return found


CASES = [(tool, line) for tool, lines in LINES.items() for line in lines]


@pytest.mark.parametrize(('tool', 'line'), CASES)
def test_a_folder_without_the_right_to_write(ended, tool, line):
    assert_one_sentence(ended[tool, line], 'cannot be written')
