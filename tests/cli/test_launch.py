import argparse

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import distributed

from mmseg_pan import UserError, cli, devices
from mmseg_pan.cli import checks
from mmseg_pan.engine.resume import checkpoints, set_resume
from tests.paths import ROOT

TOY = str(ROOT / 'configs/pan/pan_r18-d16_toy.py')


@pytest.fixture
def cfg(tmp_path):
    cfg = Config(
        dict(
            work_dir=str(tmp_path),
            optim_wrapper=dict(type='OptimWrapper'),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='mIoU')),
        ),
    )
    object.__setattr__(cfg, '_filename', 'some_config.py')
    return cfg


def save(tmp_path, *names):
    for name in names:
        torch.save(dict(state_dict=dict(weight=torch.ones(100))), tmp_path / name)


def test_checkpoints_come_by_iteration_and_not_by_name(tmp_path):
    save(tmp_path, 'iter_9.pth', 'iter_10.pth', 'best_mIoU_iter_99.pth', 'iter_200.pth.tmp')
    assert [p.name for p in checkpoints(tmp_path)] == ['iter_10.pth', 'iter_9.pth']
    assert checkpoints(tmp_path / 'no') == []


def test_resume_left_out(cfg, tmp_path):
    assert set_resume(cfg, None) == 'Starts from iteration 0.'
    save(tmp_path, 'iter_4.pth')
    assert 'holds checkpoints of another run (iter_4.pth)' in set_resume(cfg, None)
    assert cfg.resume is False


def test_resume_newest(cfg, tmp_path):
    save(tmp_path, 'iter_4.pth')
    assert set_resume(cfg, 'newest') == f'Resumes {tmp_path / "iter_4.pth"}.'
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'iter_4.pth'))


def test_resume_newest_without_one(cfg, tmp_path):
    with pytest.raises(UserError, match=r'no checkpoint in .* to resume; .*"--resume auto"'):
        set_resume(cfg, 'newest')


def test_resume_auto_says_which(cfg, tmp_path):
    assert 'no checkpoint' in set_resume(cfg, 'auto')
    assert cfg.resume is False
    save(tmp_path, 'iter_4.pth')
    assert 'Resumes' in set_resume(cfg, 'auto')
    assert cfg.resume is True


def test_resume_from_a_path(cfg, tmp_path):
    save(tmp_path, 'mine.pth', 'iter_4.pth')
    set_resume(cfg, str(tmp_path / 'mine.pth'))
    assert cfg.load_from == str(tmp_path / 'mine.pth')
    with pytest.raises(UserError, match=r'no\.pth to resume does not exist'):
        set_resume(cfg, str(tmp_path / 'no.pth'))


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:-100]), 'it is cut off'),
        (lambda p: p.write_bytes(b''), 'it is empty'),
        (lambda p: p.write_bytes(b'hello'), 'it is not a file of torch'),
        (flip_a_bit, 'checksum of'),
    ],
)
def test_damaged_newest_is_named_and_the_newest_whole_one_is_taken(cfg, tmp_path, damage, words):
    save(tmp_path, 'iter_4.pth', 'iter_8.pth', 'iter_12.pth')
    damage(tmp_path / 'iter_12.pth')
    told = set_resume(cfg, 'auto')
    assert told.startswith(f'The checkpoint {tmp_path / "iter_12.pth"} is damaged ({words}')
    assert told.endswith(f'Resumes {tmp_path / "iter_8.pth"}.')
    assert cfg.load_from == str(tmp_path / 'iter_8.pth')
    with pytest.raises(UserError, match=r'iter_12\.pth is damaged'):
        set_resume(cfg, str(tmp_path / 'iter_12.pth'))
    for name in ('iter_4.pth', 'iter_8.pth'):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r'no intact checkpoint in .*iter_12\.pth is damaged'):
        set_resume(cfg, 'auto')  # a day of training is not discarded silently


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('--resume a.py', ['--resume=newest', 'a.py']),
        ('a.py --resume', ['a.py', '--resume']),
        ('a.py --resume auto', ['a.py', '--resume', 'auto']),
        ('--resume auto a.py', ['--resume', 'auto', 'a.py']),
        ('--resume x.pth a.py', ['--resume', 'x.pth', 'a.py']),
        ('--resume --amp a.py', ['--resume', '--amp', 'a.py']),
    ],
)
def test_bare_resume_does_not_swallow_the_config(line, expected):
    assert cli.parse_resume(line.split()) == expected


def test_auto_scale_lr_needs_a_base(cfg):
    with pytest.raises(UserError, match=r'needs auto_scale_lr=.* some_config.py has none'):
        cli.set_auto_scale_lr(cfg)
    cfg.auto_scale_lr = ConfigDict(enable=False, base_batch_size=16)
    cli.set_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable


@pytest.mark.parametrize(('processes', 'each'), [(1, 16), (2, 8), (4, 4), (16, 1)])
def test_processes_share_the_batch_of_the_recipe(cfg, processes, each):
    cfg.train_dataloader = dict(batch_size=4)
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=16)
    cli.divide_batch(cfg, processes)
    assert cfg.train_dataloader.batch_size == each


@pytest.mark.parametrize('processes', [3, 32])
def test_a_batch_that_does_not_divide_is_refused(cfg, processes):
    cfg.train_dataloader = dict(batch_size=4)
    cfg.auto_scale_lr = dict(enable=False, base_batch_size=16)
    with pytest.raises(
        UserError,
        match=rf'on 16 images a step .*, and {processes} processes .*start 1 or 2 or 4 or 8 or 16',
    ):
        cli.divide_batch(cfg, processes)


def test_a_config_that_states_no_total_batch_keeps_its_batch(cfg):
    for batch in (dict(batch_size=4), dict(batch_sampler=dict(type='any'))):
        cfg.train_dataloader = dict(batch)
        cli.divide_batch(cfg, 3)
        assert cfg.train_dataloader == batch
        cfg.auto_scale_lr = None


@pytest.mark.parametrize(
    ('cuda', 'bfloat16', 'expected'),
    [
        (False, False, dict(type='BFloat16OptimWrapper')),
        (True, True, dict(type='BFloat16OptimWrapper')),
        (True, False, dict(type='AmpOptimWrapper', loss_scale='dynamic')),
    ],
)
def test_amp_takes_bfloat16_where_it_is(cfg, monkeypatch, cuda, bfloat16, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda **_: bfloat16)
    monkeypatch.setattr(devices, 'cpu_has_bfloat16', lambda: True)
    cli.set_amp(cfg)
    assert cfg.optim_wrapper == expected
    cfg.optim_wrapper.type = 'Other'
    with pytest.raises(UserError, match='OptimWrapper, not Other'):
        cli.set_amp(cfg)


def test_amp_on_a_cpu_that_would_emulate_it(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(devices, 'cpu_has_bfloat16', lambda: False)
    with pytest.raises(UserError, match='many times as long as float32; omit --amp'):
        cli.set_amp(cfg)


def test_test_time_augmentation_wraps_model_and_pipeline(cfg):
    with pytest.raises(UserError, match='--tta needs tta_model and tta_pipeline in some_config'):
        cli.set_tta(cfg)
    toy = cli.load_config(TOY)
    model = toy.model
    cli.set_tta(toy)
    assert (toy.model.type, toy.model.module) == ('FastTTAModel', model)
    assert toy.test_dataloader.dataset.pipeline == toy.tta_pipeline
    assert toy.tta_pipeline[-1].type == 'TestTimeAug'


def test_no_validate(cfg):
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = dict(type='x')
    cli.drop_validation(cfg)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert 'save_best' not in cfg.default_hooks.checkpoint


def test_synchronised_batch_norm_with_several_gpus_alone(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cli.set_devices(cfg, 'none')
    assert 'sync_bn' not in cfg
    cli.set_devices(cfg, 'pytorch')
    assert cfg.sync_bn == 'torch'


def test_launchers_without_gpu(cfg, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(UserError, match='--launcher slurm needs GPUs'):
        cli.set_devices(cfg, 'slurm')
    with pytest.raises(UserError, match=r'is for torchrun; type "bash tools/dist_train.sh'):
        cli.set_devices(cfg, 'pytorch')


def test_pretrained_files_are_found_anywhere_in_a_model():
    model = dict(
        pretrained='a.pth',
        backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='b.pth')),
        neck=dict(init_cfg=dict(type='Normal', layer='Conv2d')),
        module=dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='c.pth'))),
    )
    assert checks.pretrained_files(model) == [
        ('pretrained', 'a.pth'),
        ('backbone.init_cfg.checkpoint', 'b.pth'),
        ('module.backbone.init_cfg.checkpoint', 'c.pth'),
    ]


def pretrained(checkpoint):
    backbone = dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
    return Config(dict(model=dict(backbone=backbone)))


def test_pretrained_file_that_is_there(tmp_path):
    torch.save({'weight': torch.zeros(1)}, tmp_path / 'w.pth')
    cli.check_pretrained(pretrained(str(tmp_path / 'w.pth')))


@pytest.mark.parametrize(
    'checkpoint', ['no/such.pth', 'http://127.0.0.1:9/none.pth', 'open-mmlab://no_such_model']
)
def test_pretrained_file_that_cannot_be_had(checkpoint):
    with pytest.raises(
        UserError,
        match=rf'weights {checkpoint} could not be loaded .*backbone.init_cfg.checkpoint=FILE',
    ):
        cli.check_pretrained(pretrained(checkpoint))


def test_missing_data_of_a_data_set_that_is_not_ours(monkeypatch):
    monkeypatch.setenv('CITYSCAPES_ROOT', '/no/cityscapes')
    cfg = Config.fromfile(ROOT / 'configs/pan/pan_r101-d16_cityscapes.py')
    cfg.train_dataloader.dataset.type = 'CityscapesDataset'
    with pytest.raises(
        UserError, match=r'/no/cityscapes.* of train_dataloader does not exist; set'
    ):
        cli.check_data(cfg, 'train')


def test_config_that_is_not_there():
    with pytest.raises(UserError, match=r'did you mean .*pan_r18-d16_toy.py\?'):
        cli.load_config(TOY.replace('d16_toy', 'd16-toy'))
    with pytest.raises(UserError, match='does not exist; see configs/pan'):
        cli.load_config('nowhere/x.py')


def test_work_dir_from_flag_then_config_then_name():
    assert cli.load_config(TOY).work_dir == './work_dirs/pan_r18-d16_toy'
    assert cli.load_config(TOY, {'work_dir': 'b'}).work_dir == 'b'
    assert cli.load_config(TOY, {'work_dir': 'b'}, 'a').work_dir == 'a'


def test_config_options_without_equals_sign(capsys):
    parser = argparse.ArgumentParser()
    cli.add_common_arguments(parser)
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args(['--cfg-options', 'a=1', 'config.py'])
    assert "takes KEY=VALUE, not 'config.py' (put the config before" in capsys.readouterr().err
    assert parser.parse_args(['--cfg-options', 'a.b=[1,2]']).cfg_options == {'a.b': [1, 2]}


def test_worker_tracebacks_are_cut_to_the_sentence():
    text = 'Caught UserError in DataLoader worker process 0.\nOriginal Traceback:\n  File "x"\n'
    error = UserError(f'{text}mmseg_pan.errors.UserError: The mask a.png holds id 30.')
    assert cli.sentence(error) == 'The mask a.png holds id 30.'
    assert cli.sentence(UserError('Just this.')) == 'Just this.'


def test_a_tool_leaves_its_process_group(tmp_path):
    def main():
        store = f'file://{tmp_path}/store'
        distributed.init_process_group('gloo', init_method=store, rank=0, world_size=1)

    with pytest.raises(SystemExit) as end:
        cli.run_tool(main)
    assert not end.value.code
    assert not distributed.is_initialized()


def test_user_errors_exit_with_2_and_others_keep_their_traceback(capsys):
    def mistake():
        raise UserError('Look here.')

    def defect():
        raise RuntimeError('ours')

    with pytest.raises(SystemExit, match='2'):
        cli.run_tool(mistake)
    assert capsys.readouterr().err == 'error: Look here.\n'
    with pytest.raises(RuntimeError, match='ours'):
        cli.run_tool(defect)


def test_a_head_with_too_few_classes_is_told_before_training(toy_root, monkeypatch):
    monkeypatch.setenv('TOY_ROOT', str(toy_root))
    cfg = Config.fromfile(ROOT / 'configs/pan/pan_r18-d16_toy.py')
    cli.check_data(cfg, 'train', 'test')
    cfg.model.decode_head.num_classes = 6
    with pytest.raises(UserError, match=r'has 7 classes, .* num_classes=6; .*num_classes=7'):
        cli.check_data(cfg, 'train')
    cfg.model = dict(type='FastTTAModel', module=cfg.model)
    with pytest.raises(UserError, match='has 7 classes'):
        cli.check_data(cfg, 'test')


@pytest.fixture
def bfloat16(monkeypatch):
    """Decide whether the processor has it."""

    def decide(there):
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
        monkeypatch.setattr(devices, 'cpu_has_bfloat16', lambda: there)

    return decide


@pytest.mark.parametrize(
    ('there', 'kind', 'expected'),
    [
        (True, 'OptimWrapper', 'BFloat16OptimWrapper'),
        (False, 'OptimWrapper', 'OptimWrapper'),
        (True, 'AmpOptimWrapper', 'AmpOptimWrapper'),
    ],
)
def test_fast_takes_what_the_processor_has(cfg, bfloat16, there, kind, expected):
    bfloat16(there)
    cfg.optim_wrapper = dict(type=kind, optimizer=dict(type='SGD', lr=0.01))
    cli.set_fast_training(cfg)
    cli.set_fast_training(cfg)  # a config may have it already
    assert cfg.optim_wrapper == dict(type=expected, optimizer=dict(type='SGD', lr=0.01, fused=True))
    assert cfg.custom_hooks == [dict(type='ChannelsLastHook')]


@pytest.mark.parametrize(
    ('wrapper', 'sentence'),
    [
        (dict(type='ApexOptimWrapper'), 'OptimWrapper, not ApexOptimWrapper; leave --fast out'),
        (dict(constructor='Mine'), 'can fuse, .* and the config has None; leave --fast out'),
        (dict(optimizer=dict(type='LBFGS')), 'the config has LBFGS; leave --fast out'),
        (dict(optimizer=dict(type='Unknown')), 'the config has Unknown; leave --fast out'),
        (dict(optimizer=dict(type='SGD', fused=False)), 'fused=False; take fused out of'),
        (dict(optimizer=dict(type='SGD', foreach=True)), 'foreach=True; take foreach out of'),
        (dict(optimizer=dict(type='SGD', differentiable=True)), 'take differentiable out of'),
    ],
)
def test_fast_refuses_what_contradicts_it(cfg, wrapper, sentence):
    cfg.optim_wrapper = wrapper
    with pytest.raises(UserError, match=sentence):
        cli.set_fast_training(cfg)
