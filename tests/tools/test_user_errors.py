"""Mistakes of a user in every tool: exit code 2, one sentence, and nothing is written.

Tools run in this process, which spares them the seconds that importing takes.
"""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.paths import ROOT, TOY

HEAD = 'model.decode_head'
LOSS = f'{HEAD}.loss_decode'
#: A config file of one's own; what follows changes the toy one's.
BASE = f'_base_ = {str(TOY)!r}\n'
AUX = (
    "model = dict(auxiliary_head=dict(type='FCNHead', in_channels=64, in_index=2, channels=8,"
    ' num_convs=1, num_classes={}))\n'
)
CROP = (
    'model = dict(data_preprocessor=dict(size=(64, 64)))\n'
    'train_dataloader = dict(batch_size=4, dataset=dict(pipeline=[\n'
    "    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),\n"
    "    dict(type='RandomResize', scale=(256, 64), ratio_range=(0.5, 2.0), keep_ratio=True),\n"
    "    dict(type='RandomCrop', crop_size=(96, 96)), dict(type='PackSegInputs')]))\n"
)

#: By the kind of a mistake: texts of a config file, and words of their sentence.
FILES = {
    'does not parse': [
        ('a = (\n', 'line 1, is no valid Python'),
        ('a = b\n', "name 'b' is not defined"),
        ("_base_ = 'none.py'\n", 'which is no file'),
        ('a = 1\n  b = 2\n', 'line 2, is no valid Python'),
    ],
    'unknown type': [
        (BASE + "model = dict(decode_head=dict(type='PANhead'))\n", 'PANHead'),
        (BASE + "model = dict(backbone=dict(type='ResNetV1'))\n", 'ResNetV1'),
        (BASE + "model = dict(type='EncoderDecode')\n", 'EncoderDecode'),
        (BASE + "model = dict(neck=dict(type='FPANek'))\n", 'FPANek'),
    ],
    'unknown argument': [
        (BASE + 'model = dict(decode_head=dict(num_class=3))\n', 'num_classes'),
        (BASE + 'model = dict(backbone=dict(deepth=18))\n', 'depth'),
        (BASE + 'model = dict(decode_head=dict(loss_decode=dict(weight=2)))\n', 'weight'),
    ],
    'levels': [
        (BASE + 'model = dict(decode_head=dict(in_index=[0, 1, 2, 7]))\n', '4 levels'),
        (BASE + 'model = dict(decode_head=dict(in_index=[0, 1, 2, -5]))\n', '4 levels'),
        (BASE + 'model = dict(decode_head=dict(in_channels=[64, 128]))\n', '2 in in_channels'),
        (BASE + AUX.replace('in_index=2', 'in_index=9').format(7), '4 levels'),
    ],
    'library': [
        (BASE + "model = dict(backbone=dict(type='nolibrary.Net'))\n", 'nolibrary is not inst'),
        (BASE + "model = dict(neck=dict(type='nolibrary.Neck'))\n", 'nolibrary is not installed'),
        (BASE + "custom_imports = dict(imports=['nolibrary'])\n", 'the module nolibrary'),
    ],
}
#: By the kind of a mistake: --cfg-options, or texts, and words of their sentence. For training.
OPTIONS = {
    'nothing reads it': [
        ('data_root=x', 'nothing reads data_root'),
        ('max_iters=3', 'nothing reads max_iters'),
        ('batch_size=3', 'nothing reads batch_size'),
    ],
    'classes': [
        (f'{HEAD}.num_classes=6', 'has 7 classes'),
        (BASE + AUX.format(2), 'auxiliary_head of .* has num_classes=2'),
        (f'{LOSS}.class_weight=[1.0,2.0]', 'class_weight of 2 numbers'),
        (f'{LOSS}.use_sigmoid=True {LOSS}.class_weight=[1.0,2.0]', 'takes one there'),
    ],
    'sizes': [
        (BASE + CROP, 'set both to the same size'),
        (f'{HEAD}.kernel_sizes=[7,5,4]', 'odd'),
        (f'{HEAD}.in_channels=[64,128,256,99]', r'set in_channels=\[16, 32, 64, 128\]'),
    ],
    'list index': [
        ('train_dataloader.dataset.pipeline.99.type=x', 'is a list of'),
        ('train_dataloader.dataset.pipeline.last.type=x', 'from 0 to'),
        ('val_dataloader.dataset.pipeline.-1.type=x', 'from 0 to'),
    ],
    'optimizers and metrics': [
        ('optim_wrapper.optimizer.type=adamw', 'mean AdamW'),
        ('optim_wrapper.optimizer.learning_rate=1', 'takes no learning_rate'),
        ('optim_wrapper.type=AmpOptimWraper', 'mean AmpOptimWrapper'),
        ('val_evaluator.type=IouMetric', 'mean IoUMetric'),
        ('val_evaluator.iou_metrics=[mDise]', 'iou_metrics=mDise'),
        ('default_hooks.checkpoint.save_best=mDice', 'mDice, which val_evaluator'),
    ],
    'values': [
        ('model.backbone.depth=99', 'invalid depth 99'),
        (f'{HEAD}.dropout_ratio=2', 'between 0 and 1'),
        ('optim_wrapper.optimizer.betas=[2,3]', 'Invalid beta'),
        ('param_scheduler.0.end=-4', 'end should be larger'),
        ('model.test_cfg.mode=slide', 'no crop_size'),
    ],
    'zero and negative': [
        ('train_dataloader.batch_size=0', 'batch_size is 0'),
        ('train_cfg.max_iters=-1', 'max_iters is -1'),
        ('optim_wrapper.optimizer.lr=-0.1', 'lr is -0.1'),
        ('train_dataloader.num_workers=-2', 'num_workers is -2'),
        ('default_hooks.logger.interval=0', 'interval is 0'),
        ('train_cfg.val_interval=0', 'val_interval is 0'),
    ],
}

#: Command lines of every tool, and words of their sentence. {bad} is a config with each of FILES.
TOOLS = {
    'train.py': [
        ('{bad}', None),
        ('none.py', 'does not exist'),
        ('{toy} --resume none.pth', 'does not exist'),
        ('{toy} --launcher pytorch', 'is for torchrun'),
        ('{toy} --cfg-options a', 'takes KEY=VALUE'),
        ('{toy} --no-validation', 'unrecognized'),
        ('{toy} --cfg-options load_from=none.pth', 'does not exist'),
    ],
    'test.py': [
        ('{bad} {net}', None),
        ('{toy} none.pth', 'does not exist'),
        ('{toy} {text}', 'is no file of torch|is not a file of torch'),
        ('{toy} {net} --report r --compare none', 'none'),
        ('{toy} {net} --wait-time x', 'invalid float'),
    ],
    'predict.py': [
        ('{image} --config {bad} --checkpoint {net} --out o', None),
        ('none.jpg --out o', 'none.jpg'),
        ('{image} --out o --batch 0', 'whole number'),
        ('{image} --out o --window 1', 'whole number'),
        ('{image} --checkpoint {net} --out o --device cuda:99', 'cuda:99'),
        ('{image} --checkpoint none.pth --out o', 'does not exist'),
        ('{image}', '--out'),
    ],
    'demo.py': [
        ('--data {toys} --out o --cfg-options data_root=x', 'nothing reads data_root'),
        (f'--data {{toys}} --out o --cfg-options {HEAD}.typo=x', 'takes no typo'),
        ('--data {toys} --out o --cfg-options a', 'takes KEY=VALUE'),
        ('--data {text} --out o', 'is no folder'),
    ],
    'run_experiments.py': [
        ('none.yaml', 'does not exist'),
        ('{text}', 'must end in'),
        ('{spec} --results r.txt', 'jsonl'),
        ('{empty_spec}', 'must have "runs"'),
        ('{unknown_config}', 'does not exist'),
        ('{no_seeds}', 'seeds'),
        ('{bad_options}', 'nothing reads max_iters'),
    ],
    'verify_dataset.py': [
        ('none.py', 'does not exist'),
        ('{toy} --nproc 0', 'whole number'),
        ('{toy} --plot x.bmp', 'x.bmp'),
        ('{folder}', 'ImageSets'),
        ('{bad_data}', 'mean ToyShapesDataset'),
        ('{bad_root}', 'takes no dataroot'),
    ],
    'voc_server_archive.py': [
        ('none', 'does not exist'),
        ('{folder} --root none', 'does not exist'),
        ('{folder} --root {toys} --list train9', 'does not exist'),
        ('{folder} --root {toys} --list val', 'lacks 4 of the maps'),
    ],
    'analysis_tools/accuracy_cost.py': [
        ('none.yaml --out a.png', 'does not exist'),
        ('{spec} --out a.txt', 'a.txt'),
        ('{spec} --out a.png --rounds 0', 'whole number'),
        ('{spec} --out a.png --mean none', 'none'),
    ],
    'analysis_tools/analyze_logs.py': [
        ('none --out a.png', 'none'),
        ('{log} --out a.txt', 'a.txt'),
        ('{log} --keys nothing --out a.png', 'nothing'),
        ('{log} --legend a b --out a.png', 'names'),
    ],
    'analysis_tools/attention.py': [
        ('{bad} {net} {image}', None),
        ('{toy} {net} none.jpg', 'does not exist'),
        ('{toy} none.pth {image}', 'does not exist'),
        ('{toy} {net} {image} --out a.txt', 'a.txt'),
        ('{toy} {net} {image} --device gpu', 'gpu'),
    ],
    'analysis_tools/benchmark.py': [
        ('{bad} --shape 64 64', None),
        ('none.py', 'does not exist'),
        ('{toy} --rounds 0', 'whole number'),
        ('{toy} --shape 64', 'expected 2 arguments'),
        ('{toy} --vs smp:Unet', 'smp:'),
    ],
    'analysis_tools/browse_dataset.py': [
        ('{bad}', None),
        ('none.py', 'does not exist'),
        ('{toy} --number 0', 'whole number'),
        ('{toy} --split all', 'invalid choice'),
        ('{toy} --cfg-options train_dataloader=None', 'train_dataloader'),
    ],
    'analysis_tools/confusion_matrix.py': [
        ('{bad} {folder} --out a.png', None),
        ('{toy} none --out a.png', 'does not exist'),
        ('{toy} {folder} --out a.txt', 'a.txt'),
        ('{toy} {folder} --out a.png', 'val_00000'),
        ('{toy} {folder} --out a.png --cfg-options test_dataloader=None', 'test_dataloader'),
    ],
    'analysis_tools/get_flops.py': [
        ('{bad}', None),
        ('none.py', 'does not exist'),
        ('{toy} --shape 0 10', 'whole number'),
        ('{toy} --shape 64', 'expected 2 arguments'),
        ('{no_model}', 'has no model'),
    ],
    'analysis_tools/scaling.py': [
        ('{bad} --out a.png', None),
        ('none.py --out a.png', 'does not exist'),
        ('{toy} --out a.txt', 'a.txt'),
        ('{toy} --out a.png --sides 0', 'whole number'),
        ('{toy} --out a.png --workers -1', 'whole number|expected'),
    ],
    'analysis_tools/window_share.py': [
        ('{image} --checkpoint {net} --config {bad} --windows 64', None),
        ('none.jpg --checkpoint {net} --windows 64', 'none.jpg'),
        ('{image} --checkpoint none.pth --windows 64', 'does not exist'),
        ('{image} --checkpoint {net} --windows 0', 'whole number'),
        ('{image} --checkpoint {net} --windows 64 --device gpu', 'gpu'),
    ],
    'dataset_converters/annotations.py': [
        ('none --out data', 'none'),
        ('{folder} --out data', 'holds no annotations'),
        ('{text} --out data', 'mistake.txt'),
        ('{folder} --out data --format yolo', 'invalid choice'),
        ('{folder} --out data --val-share 2', '--val-share'),
        ('{folder} --out data --group [', '--group'),
    ],
    'dataset_converters/toy_shapes.py': [
        ('t --train 0', 'whole number'),
        ('t --size x', 'whole number'),
        ('t --seed -1', 'whole number'),
        ('{text}', 'contains something else'),
    ],
    'dataset_converters/voc_aug.py': [
        ('none none', 'none'),
        ('{folder} none', 'none'),
        ('{folder} {folder} --nproc 0', 'whole number'),
    ],
    'deployment/export.py': [
        ('{bad} {net} --out a', None),
        ('{toy} none.pth --out a', 'does not exist'),
        ('{toy} {net} --out a --shape 0 0', 'whole number'),
        ('{toy} {net} --out a --format tflite', 'invalid choice'),
        (f'{{toy}} {{net}} --out a --cfg-options {HEAD}.type=PANhead', 'mean PANHead'),
        ('{toy} {net} --out a --tolerance -1', 'tolerance'),
    ],
    'deployment/parity.py': [
        ('{bad} {net} x.onnx', None),
        ('{toy} {net}', 'required'),
        ('{toy} none.pth x.onnx', 'does not exist'),
        ('{toy} {net} none.onnx', 'none.onnx'),
        ('{toy} {net} {text}', 'mistake.txt'),
        ('{toy} {net} x.onnx --images -1', 'whole number|expected'),
    ],
    'deployment/quantize.py': [
        ('{bad} x.xml --out q', None),
        ('{toy} none.xml --out q', 'none.xml'),
        ('{toy} {text} --out q', 'mistake.txt'),
        ('{toy} x.xml --out q --images 0', 'whole number'),
        ('{toy} x.xml --out q --float-layers -1', 'whole number|expected'),
    ],
    'misc/draw_network.py': [
        ('--out a.txt', 'a.txt'),
        ('--out', 'expected one argument'),
        ('--output a.png', 'unrecognized'),
    ],
    'misc/publish_model.py': [
        ('{net} --config {bad} --out a.pth', None),
        ('{net} --out a.zip', 'must end in'),
        ('{net} --out a.pth --metrics mIoU', 'NAME=NUMBER'),
        ('{net} --out a.pth --provenance x', 'NAME=TEXT'),
        ('none.pth --out a.pth', 'does not exist'),
    ],
    'misc/write_results.py': [
        ('card', 'unrecognized'),
        ('--out x', 'unrecognized'),
        ('--check', 'unrecognized'),
    ],
    'model_converters/backbone2mmseg.py': [
        ('none.pth a.pth', 'none.pth'),
        ('{text} a.pth', 'mistake.txt'),
        ('{net} a.txt', 'a.txt'),
        ('{net} a.pth', 'iter_7.pth|torchvision'),
    ],
    'model_converters/deeplab2mmseg.py': [
        ('{bad} {net} {net} a.pth', None),
        ('{toy} none.pth none.pth a.pth', 'none.pth'),
        ('{toy} {net} {net} a.txt', 'a.txt'),
        ('{toy} {net} {net} a.pth', 'as tflite2mmseg.py wrote them'),
    ],
    'model_converters/tflite2mmseg.py': [
        ('none.tflite a.pth b.pth', 'none.tflite'),
        ('{text} a.pth b.pth', 'mistake.txt'),
        ('{text} a.txt b.pth', 'a.txt'),
    ],
    'quickstart.py': [
        ('tests', 'invalid choice'),
        ('--stack openmm', 'invalid choice'),
        ('--stack', 'expected one argument'),
    ],
}
#: Mistakes of every kind, once, for each tool that reads a config.
ONE_EACH = {kind: rows[0] for kind, rows in FILES.items()}
LINES = [
    (tool, line.replace('{bad}', f'{{{kind}}}'), words)
    for tool, rows in TOOLS.items()
    for line, own in rows
    for kind, words in ([(None, own)] if own else [(k, w) for k, (_, w) in ONE_EACH.items()])
]


def test_every_tool_is_here():
    found = {str(path.relative_to(ROOT / 'tools')) for path in (ROOT / 'tools').rglob('*.py')}
    assert found == set(TOOLS)
    assert all(len(rows) >= 3 for rows in TOOLS.values())
    assert all(len(rows) >= 3 for rows in {**FILES, **OPTIONS}.values())


@pytest.fixture(scope='module')
def places(tmp_path_factory, toy_root, toy_checkpoint):
    """What the command lines name."""
    folder = tmp_path_factory.mktemp('places')

    def text(name: str, content: str) -> Path:
        (folder / name).write_text(content)
        return folder / name

    def spec(name: str, **changes) -> Path:
        row = dict(name='PAN', config='configs/pan/pan_r18-d16_toy.py', seeds=[0])
        return text(name, json.dumps(dict(runs=[row | changes])))

    (folder / 'empty').mkdir()
    (folder / 'log/vis_data').mkdir(parents=True)
    rows = [json.dumps(dict(step=step, loss=1.0)) for step in (1, 2)]
    text('log/vis_data/scalars.json', '\n'.join(rows))
    Image.new('RGB', (64, 64)).save(folder / 'image.png')
    shutil.copy(toy_checkpoint, folder / 'iter_7.pth')
    dataset = 'train_dataloader = dict(dataset=dict({}))\n'
    found = {
        kind: text(f'{kind.replace(" ", "_")}.py', content)
        for kind, (content, _) in ONE_EACH.items()
    }
    return found | dict(
        toy=TOY,
        toys=toy_root,
        net=folder / 'iter_7.pth',
        image=folder / 'image.png',
        folder=folder / 'empty',
        log=folder / 'log',
        text=text('mistake.txt', 'hello\n'),
        spec=spec('spec.json'),
        empty_spec=text('empty.json', '{"runs": []}'),
        unknown_config=spec('unknown.json', config='configs/pan/none.py'),
        no_seeds=spec('seeds.json', seeds=[]),
        bad_options=spec('options.json', options=dict(max_iters=3)),
        no_model=text('no_model.py', 'a = 1\n'),
        bad_data=text('bad_data.py', BASE + dataset.format("type='ToyShapes'")),
        bad_root=text('bad_root.py', BASE + dataset.format("dataroot='x'")),
    )


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys, toy_root):
    """Run a tool in an empty folder; returns the sentence with which it refuses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TOY_ROOT', str(toy_root))
    monkeypatch.setattr(sys, 'path', [*sys.path])
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)

    def run(tool: str, *arguments) -> str:
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
        errors = capsys.readouterr().err
        assert ended.value.code == 2, errors[-500:]
        (line,) = [line for line in errors.splitlines() if 'error:' in line]
        assert line.startswith('error: ') and len(line) <= 307, line
        assert 'Traceback' not in errors
        assert not list(tmp_path.iterdir())
        return line

    return run


@pytest.mark.parametrize(('tool', 'line', 'words'), LINES)
def test_mistake_in_a_command_line(places, refused, tool, line, words):
    arguments = [word.format(**places) for word in re.findall(r'(?:\{[^}]*\}|\S)+', line)]
    assert re.search(words, refused(tool, *arguments))


KINDS = [
    (kind, given, words)
    for table in (FILES, OPTIONS)
    for kind, rows in table.items()
    for given, words in rows
]


@pytest.mark.parametrize(('kind', 'given', 'words'), KINDS, ids=lambda value: str(value)[-40:])
def test_mistakes_of_every_kind_in_a_training(refused, tmp_path_factory, kind, given, words):
    config, options = TOY, ['--cfg-options', *given.split()]
    if given.endswith('\n'):
        config, options = tmp_path_factory.mktemp('config') / 'my.py', []
        config.write_text(given)
    assert re.search(words, refused('train.py', config, '--work-dir', 'w', *options))


@pytest.mark.parametrize('tool', ['train.py', 'predict.py', 'analysis_tools/get_flops.py'])
def test_a_fault_of_ours_keeps_its_traceback(places, monkeypatch, tmp_path, tool):
    def defective(*args):
        raise KeyError('planted')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmseg_pan.cli.config.check_parts', defective)
    line = dict(
        [
            ('train.py', '{toy}'),
            ('predict.py', '{image} --out o --checkpoint {net} --config {toy}'),
            ('analysis_tools/get_flops.py', '{toy}'),
        ]
    )[tool]
    monkeypatch.setattr(sys, 'argv', [tool, *line.format(**places).split()])
    with pytest.raises(KeyError, match='planted'):
        runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')


#: Faults in a user's module: where it is imported, and where its head is built.
MODULES = {
    'imported': ('{}["nothing"]\n', KeyError),
    'built': (
        'from mmseg.registry import MODELS\n'
        'from mmseg_pan.models import PANHead\n\n\n'
        '@MODELS.register_module(force=True)\n'
        'class DefectiveHead(PANHead):\n'
        '    def __init__(self, **kwargs):\n'
        '        super().__init__(**kwargs)\n'
        '        1 / 0\n',
        ZeroDivisionError,
    ),
}


@pytest.mark.parametrize('where', MODULES)
@pytest.mark.parametrize('tool', ['get_flops.py', 'benchmark.py'])
def test_a_fault_of_a_users_module_keeps_its_traceback(monkeypatch, tmp_path, where, tool):
    text, kind = MODULES[where]
    module = f'defective_{where}_{Path(tool).stem}'
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f'{module}.py').write_text(text)
    head = "model = dict(decode_head=dict(type='DefectiveHead'))\n" if where == 'built' else ''
    imports = f"custom_imports = dict(imports=['mmseg_pan', {module!r}])\n"
    (tmp_path / 'my.py').write_text(BASE + imports + head)
    monkeypatch.setattr(sys, 'argv', [tool, str(tmp_path / 'my.py'), '--shape', '64', '64'])
    with pytest.raises(kind):
        runpy.run_path(str(ROOT / 'tools/analysis_tools' / tool), run_name='__main__')
