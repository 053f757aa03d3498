"""What all tests share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from mmengine.registry import init_default_scope

import mmseg_pan  # noqa: F401  registers everything
from mmseg_pan.datasets.toy import make_toy_shapes
from tests.fast_start import start_fast
from tests.fixtures import exported, mini, original_mini, texts, toy_checkpoint  # noqa: F401
from tests.paths import ROOT
from tests.processes import ToolServer, run_command

start_fast()
# A busy machine is no failure.
settings.register_profile('no deadline', deadline=None)
settings.load_profile('no deadline')


@pytest.fixture(autouse=True, scope='module')
def _scope_of_module():
    """Before the fixtures of a module: the test before it may have left another scope."""
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def _scope_and_seed():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.fixture(scope='session')
def toy_root(tmp_path_factory) -> Path:
    """A toy set small enough to train on within seconds."""
    root = tmp_path_factory.mktemp('data') / 'toy_shapes'
    make_toy_shapes(root, train=16, val=4, size=64)
    return root


@pytest.fixture(scope='session')
def voc_root() -> Path:
    """Real VOC photographs, where the environment names them."""
    root = os.environ.get('VOC_ROOT')
    if not root:
        pytest.skip('VOC_ROOT is not set: no real photographs here')
    return Path(root)


#: What a process reads while it imports modules: a tool that is given it starts anew.
READ_BY_IMPORTS = ('PYTHONPATH', 'OMP_NUM_THREADS')


@pytest.fixture(scope='session')
def tool_server():
    """Tools start in a moment here."""
    server = ToolServer({**os.environ, 'OMP_NUM_THREADS': '1'})
    yield server
    server.close()


@pytest.fixture
def run_tool(request, toy_root, tmp_path):
    """Run a tool as a user would: in another folder, by its path."""

    def run(tool: str, *args, check: bool = True, **env) -> subprocess.CompletedProcess:
        command = [str(ROOT / 'tools' / tool), *map(str, args)]
        environment = {
            **os.environ,
            'TOY_ROOT': str(toy_root),
            'OMP_NUM_THREADS': '1',  # two processes on two cores
            'PYTHONPATH': '',
            **env,
        }
        if set(env).isdisjoint(READ_BY_IMPORTS):
            server = request.getfixturevalue('tool_server')
            done = server.run(command, cwd=tmp_path, env=environment)
        else:
            done = run_command([sys.executable, *command], cwd=tmp_path, env=environment)
        if check:
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return run
