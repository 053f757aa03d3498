"""What every tool does before it writes: rights, inputs, other people's files, names."""

import gzip
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_pan.outputs import MARK, is_result
from tests.paths import ROOT, TOY
from tests.rights import obey_file_modes
from tests.tools.test_data_tools import assert_one_sentence

#: Tools that write where the user says, and the options that say so.
COMMANDS = {
    'predict.py': ['{image} --checkpoint {net} --out {out}'],
    'test.py': [
        '{toy} {net} --work-dir {out}', '{toy} {net} --work-dir w --out {out}',
        '{toy} {net} --work-dir w --show-dir {out}', '{toy} {net} --work-dir w --report {out}',
    ],
    'train.py': ['{toy} --work-dir {out}'],
    'demo.py': ['--data {data} --out {out}'],
    'run_experiments.py': [
        '{spec} --work-dir {out}', '{spec} --work-dir w --results {out}/a.jsonl'
    ],
    'verify_dataset.py': ['{toy} --json {out}/a.json', '{toy} --plot {closed}/a.png'],
    'voc_server_archive.py': ['{maps} --root {voc} --list val --out {out}/r.tgz'],
    'analysis_tools/accuracy_cost.py': ['{spec} --out {closed}/a.png'],
    'analysis_tools/analyze_logs.py': ['{logs} --out {closed}/a.png'],
    'analysis_tools/browse_dataset.py': ['{toy} --output-dir {out}'],
    'analysis_tools/confusion_matrix.py': ['{toy} {maps} --out {closed}/a.png'],
    'analysis_tools/scaling.py': ['{toy} --out {closed}/a.png'],
    'dataset_converters/toy_shapes.py': ['{out}'],
    'deployment/export.py': ['{toy} {net} --images 0 --out {out}/a'],
    'deployment/quantize.py': [],  # tests/export: it needs an exported network
    'dataset_converters/voc_aug.py': [],  # tests/voc: it needs the archives
    'misc/publish_model.py': ['{net} --out {out}/a.safetensors'],
    'model_converters/backbone2mmseg.py': ['{backbone} {out}/a.pth'],
}  # fmt: skip


def test_every_tool_that_writes_is_here():
    found = set()
    for path in (ROOT / 'tools').rglob('*.py'):
        text = path.read_text()
        options = r"'--(out|out-dir|out_dir|output-dir|show-dir|report|work-dir|json|plot)'"
        if re.search(options, text) or 'add_common_arguments' in text or 'destination' in text:
            found.add(str(path.relative_to(ROOT / 'tools')))
    found.add('dataset_converters/toy_shapes.py')
    assert found == set(COMMANDS)


@pytest.fixture(scope='module')
def place(tmp_path_factory, toy_root, toy_checkpoint):
    """Inputs of all tools, and a folder that may not be written."""
    root = tmp_path_factory.mktemp('place')
    (root / 'closed').mkdir()
    (root / 'closed').chmod(0o555)
    (root / 'maps').mkdir()
    for mask in (toy_root / 'SegmentationClass').glob('val*.png'):
        (root / 'maps' / mask.name).write_bytes(mask.read_bytes())
    backbone = root / 'resnet18.pth'
    torch.save({'conv1.weight': torch.zeros(1)}, backbone)
    (root / 'log/vis_data').mkdir(parents=True)
    rows = [json.dumps(dict(step=n, loss=1.0)) for n in (1, 2)]
    (root / 'log/vis_data/scalars.json').write_text('\n'.join(rows))
    return dict(
        toy=TOY, net=toy_checkpoint, closed=root / 'closed', out=root / 'closed/new',
        image=next((toy_root / 'JPEGImages').iterdir()), data=toy_root, voc=toy_root,
        maps=root / 'maps', logs=root / 'log', backbone=backbone,
        spec=ROOT / 'configs/pan/results/quickstart.yaml',
    )  # fmt: skip


CASES = [(tool, line) for tool, lines in COMMANDS.items() for line in lines]


@pytest.mark.parametrize(('tool', 'line'), CASES)
def test_folder_without_the_right_to_write(place, tmp_path, toy_root, tool, line):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', ROOT / 'tools' / tool, *line.format(**place).split()],
        cwd=tmp_path, preexec_fn=obey_file_modes, capture_output=True, text=True,
        env={**os.environ, 'TOY_ROOT': str(toy_root), 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    assert_one_sentence(done, 'cannot be written')
    assert os.listdir(place['closed']) == []


def test_label_maps_are_kept_out_of_the_masks(run_tool, toy_checkpoint, toy_root, tmp_path):
    masks = toy_root / 'SegmentationClass'
    before = {path.name: path.read_bytes() for path in masks.iterdir()}
    (tmp_path / 'link').symlink_to(masks)
    for option, folder in (
        ('--out', masks), ('--out', 'link'), ('--out', toy_root / 'JPEGImages'),
        ('--show-dir', masks), ('--report', masks), ('--out', masks / 'new'),
    ):  # fmt: skip
        done = run_tool(
            'test.py', TOY, toy_checkpoint, '--work-dir', 'w', option, folder, check=False
        )
        assert_one_sentence(done, "holds the data set's own files")
    assert {path.name: path.read_bytes() for path in masks.iterdir()} == before


SMALL = [
    '--work-dir', 'w', '--cfg-options', 'model.data_preprocessor.size=[64,64]',
    'test_dataloader.num_workers=0', 'test_dataloader.persistent_workers=False',
]  # fmt: skip


def test_label_maps_are_written_again_and_not_over_others(
    run_tool, toy_checkpoint, toy_root, tmp_path
):
    command = ['test.py', TOY, toy_checkpoint, '--out', 'maps', '--report', 'page', *SMALL]
    run_tool(*command)
    run_tool(*command)
    assert all(is_result(path) for path in (tmp_path / 'maps').iterdir())
    mine = tmp_path / 'maps/val_00001.png'
    mine.write_bytes((toy_root / 'SegmentationClass/val_00001.png').read_bytes())
    assert_one_sentence(run_tool(*command, check=False), r'val_00001\.png is not a result')
    mine.unlink()
    (tmp_path / 'page/index.html').write_text('my page')
    assert_one_sentence(run_tool(*command, check=False), r'index\.html is not a result')


def test_pictures_are_kept_out_of_the_images(run_tool, toy_root, tmp_path):
    tool = 'analysis_tools/browse_dataset.py'
    for folder in ('JPEGImages', 'SegmentationClass'):
        done = run_tool(tool, TOY, '--output-dir', toy_root / folder, check=False)
        assert_one_sentence(done, "holds the data set's own files")
    run_tool(tool, TOY, '--output-dir', 'seen', '--number', 2)
    run_tool(tool, TOY, '--output-dir', 'seen', '--number', 2)
    (mine, _) = sorted((tmp_path / 'seen').iterdir())
    mine.write_bytes(b'mine')
    done = run_tool(tool, TOY, '--output-dir', 'seen', '--number', 2, check=False)
    assert_one_sentence(done, f'{mine.name} is not a result')


def test_equal_names_in_sub_folders_are_browsed_apart(run_tool, toy_root, tmp_path):
    data = tmp_path / 'data'
    for folder, grey in (('a', 50), ('b', 200)):
        for kind, suffix in (('images', '.jpg'), ('masks', '.png')):
            (data / kind / folder).mkdir(parents=True)
            shade = grey if kind == 'images' else 0
            Image.fromarray(np.full((64, 64), shade, np.uint8)).convert(
                'RGB' if kind == 'images' else 'L'
            ).save(data / kind / folder / f'1{suffix}')
    cfg = Config.fromfile(TOY)
    cfg.test_dataloader.dataset = dict(
        type='CheckedSegDataset', data_root=str(data), img_suffix='.jpg',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=['a', 'b'], palette=[[0, 0, 0], [9, 9, 9]]),
        pipeline=cfg.test_pipeline,
    )  # fmt: skip
    cfg.dump(tmp_path / 'cfg.py')
    run_tool(
        'analysis_tools/browse_dataset.py', 'cfg.py', '--split', 'test', '--output-dir', 'seen'
    )
    names = [str(p.relative_to(tmp_path / 'seen')) for p in (tmp_path / 'seen').rglob('*.png')]
    assert sorted(names) == ['a/1.png', 'b/1.png']


def test_archive_keeps_a_dotted_name_and_says_whose_it_is(run_tool, place, tmp_path, toy_root):
    command = ['voc_server_archive.py', place['maps'], '--root', toy_root, '--list', 'val', '--out']
    for typed, named in (('r.v1', 'r.v1.tgz'), ('new/r.tar.gz', 'new/r.tar.gz')):
        run_tool(*command, typed)
        first = (tmp_path / named).read_bytes()
        run_tool(*command, typed)
        assert (tmp_path / named).read_bytes() == first  # no time of writing in it
        assert is_result(tmp_path / named)
    mine = tmp_path / 'mine.tgz'
    mine.write_bytes(gzip.compress(b'mine'))
    assert_one_sentence(run_tool(*command, mine, check=False), r'mine\.tgz is not a result')


@pytest.mark.parametrize('suffix', ['png', 'svg', 'pdf', 'jpg', 'tiff', 'webp', 'eps'])
def test_plots_are_written_again_and_not_over_pictures(run_tool, place, tmp_path, suffix):
    tool, file = 'analysis_tools/analyze_logs.py', tmp_path / f'curves.v1.{suffix}'
    for _ in range(2):
        run_tool(tool, place['logs'], '--out', file)
    assert is_result(file)
    file.write_bytes(b'mine')
    done = run_tool(tool, place['logs'], '--out', file, check=False)
    assert_one_sentence(done, 'is not a result')


def test_findings_are_written_again_and_not_over_other_files(run_tool, tmp_path):
    command = ['verify_dataset.py', TOY, '--json', 'new/a.json']
    for _ in range(2):
        run_tool(*command)
    assert MARK in (tmp_path / 'new/a.json').read_text()
    (tmp_path / 'new/a.json').write_text('{"mine": 1}')
    assert_one_sentence(run_tool(*command, check=False), r'a\.json is not a result')
