"""What of the log reaches the terminal, and that the log file has all of it."""

import logging
import sysconfig

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.runner import Runner, checkpoint
from mmseg.registry import RUNNERS

from mmseg_pan import UserError, cli
from mmseg_pan.cli import screen
from tests.engine.runs import small_cfg


@pytest.fixture
def logger(tmp_path):
    name = f'screen of {tmp_path.name}'
    logger = MMLogger.get_instance(name, log_file=str(tmp_path / 'log'))
    screen.clear_screen(logger)
    yield logger
    MMLogger._instance_dict.pop(name)


@pytest.mark.parametrize('text', screen.HIDDEN)
def test_what_is_hidden_is_in_the_log_file(logger, tmp_path, capsys, text):
    logger.info(f'{text} and so on')
    logger.warning('The prefix is odd')
    assert f'{text} and so on' in (tmp_path / 'log').read_text()
    printed = capsys.readouterr().out
    assert 'and so on' not in printed


def test_other_messages_reach_the_terminal(logger, capsys):
    screen_handler = next(h for h in logger.handlers if type(h) is logging.StreamHandler)
    records = []
    screen_handler.emit = records.append
    for level in ('info', 'warning', 'error'):
        getattr(logger, level)(f'A config: {level}')
    assert [record.getMessage() for record in records] == [
        f'A config: {level}' for level in ('info', 'warning', 'error')
    ]


def test_initialisation_of_weights_is_not_printed_without_a_log_file(capsys):
    """As in tools that build a network and write a file."""

    class Module(BaseModule):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(1, 1, 1)

    def main():
        Module().init_weights()
        MMLogger.get_current_instance().info('after it')

    with pytest.raises(SystemExit) as end:
        cli.run_tool(main)
    assert not end.value.code
    assert 'Parameter' not in capsys.readouterr().out


def test_loaded_files_are_logged_and_not_printed(tmp_path, monkeypatch, logger, capsys):
    torch.save(dict(state_dict={}), tmp_path / 'a.pth')
    monkeypatch.setattr(checkpoint, 'print_log', checkpoint.print_log)  # as it was, afterwards
    screen.log_loaded_files()
    checkpoint.CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'), map_location='cpu')
    assert 'Loads checkpoint by local backend' in (tmp_path / 'log').read_text()
    assert 'Loads checkpoint' not in capsys.readouterr().out


def test_a_runner_of_the_configs_own_is_cleared_too(tmp_path, toy_root, capfd):
    @RUNNERS.register_module(name='RunnerOfAUser', force=True)
    class RunnerOfAUser(Runner):
        pass

    cfg = small_cfg(tmp_path, toy_root, 1)
    cfg.runner_type, cfg.log_level = 'RunnerOfAUser', 'INFO'
    cfg.experiment_name = tmp_path.name  # a logger of its own
    runner = cli.build_runner(cfg)
    assert isinstance(runner, RunnerOfAUser)
    assert type(runner).__name__ == 'RunnerOfAUser'
    assert 'System environment' not in capfd.readouterr().out
    (log,) = tmp_path.glob('*/*.log')
    assert {'System environment', 'Config:'} <= {
        word for word in ('System environment', 'Config:') if word in log.read_text()
    }


def test_a_compiler_that_is_missing_is_no_message_on_the_terminal(
    tmp_path, toy_root, capfd, monkeypatch
):
    """As in a minimal Debian: Python names the compiler that built it."""
    compiler = 'no-such-compiler -pthread'
    monkeypatch.setitem(sysconfig.get_config_vars(), 'CC', compiler)
    cfg = small_cfg(tmp_path, toy_root, 1)
    cfg.log_level, cfg.experiment_name = 'INFO', tmp_path.name  # a logger of its own
    cli.build_runner(cfg)
    assert 'not found' not in capfd.readouterr().err
    (log,) = tmp_path.glob('*/*.log')
    assert 'GCC: n/a' in log.read_text()
    assert sysconfig.get_config_var('CC') == compiler


def test_an_unknown_runner_is_named(tmp_path):
    cfg = Config(dict(runner_type='NoRunner', work_dir=str(tmp_path)))
    with pytest.raises(UserError, match=r'NoRunner.*no such runner is registered'):
        cli.build_runner(cfg)
