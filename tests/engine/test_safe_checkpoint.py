import enum
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.registry import OPTIMIZERS

from mmseg_pan.engine.safe_checkpoint import SafeCheckpointHook
from mmseg_pan.weights.plain_values import from_plain, to_plain
from tests.engine.linear_runs import linear_cfg, run_linear


def checkpoint():
    return dict(
        meta=dict(iter=3, best=np.float32(0.5)),
        message_hub=dict(
            log_scalars={'train/loss': HistoryBuffer([3.0, 2.0], [1, 4])},
            runtime_info=dict(iter=2, scores=np.arange(3)),
            resumed_keys={'train/loss': True},
        ),
        param_schedulers=[dict(base_values=(np.float64(0.1),))],
        state_dict=dict(weight=torch.ones(2)),
    )


def test_saved_file_needs_no_trust_and_comes_back_whole(tmp_path):
    held = checkpoint()
    SafeCheckpointHook().before_save_checkpoint(None, held)
    torch.save(held, tmp_path / 'x.pth')
    loaded = torch.load(tmp_path / 'x.pth', weights_only=True)
    SafeCheckpointHook().after_load_checkpoint(None, loaded)
    history = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert [a.tolist() for a in history.data] == [[3.0, 2.0], [1, 4]]
    assert loaded['meta'] == dict(iter=3, best=0.5)
    assert loaded['message_hub']['runtime_info']['scores'].tolist() == [0, 1, 2]
    assert loaded['param_schedulers'] == [dict(base_values=(0.1,))]
    assert set(loaded) == set(checkpoint())


def test_without_the_hook_torch_refuses(tmp_path):
    torch.serialization.clear_safe_globals()  # other tests have made exceptions
    torch.save(checkpoint(), tmp_path / 'x.pth')
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(tmp_path / 'x.pth', weights_only=True)


def test_saving_leaves_the_running_log_alone():
    held = checkpoint()
    hub = held['message_hub']
    SafeCheckpointHook().before_save_checkpoint(None, held)
    assert isinstance(hub['log_scalars']['train/loss'], HistoryBuffer)


def test_checkpoints_of_others_load_unchanged():
    held = dict(state_dict={}, meta={})
    SafeCheckpointHook().after_load_checkpoint(None, held)
    assert held == dict(state_dict={}, meta={})


def test_plain_values_keep_their_types():
    value = dict(a=[1, 'x'], b=(2.0, None))
    assert to_plain(value) == value


def through_a_file(value, file):
    """Save, load as torch does by itself, and restore."""
    notes = []
    torch.save(dict(value=to_plain(value, notes), notes=notes), file)
    held = torch.load(file, weights_only=True)
    return from_plain(held['value'], held['notes'])


Point = namedtuple('Point', 'x y')
Level = enum.IntEnum('Level', 'low high')
VALUES = {
    'Counter': Counter('aab'),
    'OrderedDict': OrderedDict(b=1, a=2),
    'defaultdict': defaultdict(list, a=[1]),
    'ConfigDict': ConfigDict(a=dict(b=1)),
    'named tuple': Point(1, Point(2, 3)),
    'set': {1, 'a'},
    'set of paths': {Path('a'), Path('b')},
    'frozenset': frozenset([1, (2, frozenset([3]))]),
    'deque': deque([1, deque([2])], maxlen=3),
    'range': range(1, 9, 2),
    'path': Path('a/b'),
    'paths as keys': {Path('a'): 1, 'b': {Path('c'): deque([Path('d')])}},
    'defaultdict of paths': defaultdict(int, {Path('a'): 1}),
    'time': datetime(2026, 1, 2, 3, 4, 5, 6),
    'duration': timedelta(days=1, microseconds=2),
    'bytes': b'\x00\xff',
    'complex': 1 + 2j,
    'enum of integers': Level.high,
    'numbers of numpy': [np.float32(0.5), np.int64(3), np.bool_(True), np.str_('a'), np.float64(2)],
    'date of numpy': np.datetime64('2026-01-02'),
    'keys of numpy': {np.int64(3): np.str_('a')},
    'shape': torch.Size([2, 3]),
}
ARRAYS = {
    'reversed': np.arange(6.0).reshape(2, 3)[:, ::-1],
    'no dimension': np.array(3, dtype='i2'),
    'empty': np.zeros((0, 4), 'u1'),
    'truth': np.array([True, False]),
    'words': np.array(['a', 'bcd']),
    'byte strings': np.array([b'a', b'bc']),
    'big-endian': np.arange(3, dtype='>i4'),
    'dates': np.array(['2026-01-01', '2026-01-02'], dtype='M8[D]'),
    'complex numbers': np.array([1 + 2j]),
    'records': np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')]),
    'objects': np.array([[1, 'a'], [None, Path('b')]], dtype=object),
    'arrays': np.array([np.arange(2), np.arange(3), None], dtype=object)[:2],
}


@pytest.mark.parametrize('name', VALUES)
def test_every_kind_of_value_comes_back_equal(tmp_path, name):
    value = VALUES[name]
    for held in (value, dict(inside=[value, (value, {1: value})])):
        assert through_a_file(held, tmp_path / 'x.pth') == held
    found = through_a_file(value, tmp_path / 'x.pth')
    if isinstance(value, (Counter, OrderedDict, defaultdict, deque, frozenset, set, Path)):
        assert type(found) is type(value)
    assert getattr(found, 'maxlen', None) == getattr(value, 'maxlen', None)
    assert getattr(found, 'default_factory', None) is getattr(value, 'default_factory', None)


def check_array(found, expected):
    assert type(found) is np.ndarray
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if expected.dtype == object:
        for one, other in zip(found.flat, expected.flat, strict=True):
            np.testing.assert_array_equal(one, other)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('name', ARRAYS)
def test_every_kind_of_array_comes_back_equal(tmp_path, name):
    found = through_a_file(dict(a=(ARRAYS[name],)), tmp_path / 'x.pth')['a'][0]
    check_array(found, ARRAYS[name])


@given(
    arrays.arrays(
        arrays.scalar_dtypes().filter(lambda dtype: dtype.itemsize <= 16 and dtype.kind != 'U'),
        arrays.array_shapes(min_dims=0, max_side=3),
    )
)
def test_any_array_comes_back_equal(tmp_path_factory, value):
    check_array(through_a_file(value, tmp_path_factory.getbasetemp() / 'array.pth'), value)


PLAIN = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.builds(Path, st.just('a'))
)
NESTED = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(lambda items: deque(items, 2))
        | st.dictionaries(PLAIN, inner, max_size=3)
        | st.frozensets(PLAIN, max_size=3)
    ),
    max_leaves=8,
)


@given(NESTED)
def test_any_nested_value_comes_back_equal(tmp_path_factory, value):
    assert through_a_file(value, tmp_path_factory.getbasetemp() / 'nested.pth') == value


class Keeps(Hook):
    """Keep values in the message hub, and find them again after a resume."""

    def before_train(self, runner):
        if runner.iter:
            self.found = runner.message_hub.get_info('mine')
        else:
            # mmengine 0.10.7 itself cannot copy a named tuple.
            values = {name: value for name, value in VALUES.items() if name != 'named tuple'}
            runner.message_hub.update_info('mine', {**values, **ARRAYS})
            runner.message_hub.update_info('function', print)


def test_what_a_hook_keeps_in_the_message_hub_is_there_after_a_resume(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(MMLogger, 'warning', lambda self, text, *args: told.append(text))
    run_linear(linear_cfg(tmp_path, 4), hooks=[Keeps()])
    (left_out,) = [text for text in told if 'is not saved' in text]  # once for two checkpoints
    assert left_out.startswith('message_hub.runtime_info.function is not saved')
    torch.load(tmp_path / 'iter_4.pth', weights_only=True)
    hook = Keeps()
    run_linear(linear_cfg(tmp_path, 6), 'newest', hooks=[hook])
    assert len(hook.found) == len(VALUES) - 1 + len(ARRAYS)
    for name, value in hook.found.items():
        if name in ARRAYS:
            check_array(value, ARRAYS[name])
        else:
            assert value == VALUES[name]
    hook.found['defaultdict']['new'].append(1)  # mmengine's copy would have lost its factory


class SetRate(Hook):
    """Set a rate as a number of numpy, as a schedule computed with numpy does."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.optim_wrapper.param_groups[0]['lr'] = np.float64(0.05)


def test_settings_of_the_optimizer_need_no_trust(tmp_path):
    run_linear(linear_cfg(tmp_path, 2), hooks=[SetRate()])
    saved = torch.load(tmp_path / 'iter_2.pth', weights_only=True)
    assert saved['optimizer']['param_groups'][0]['lr'] == 0.05


TORCH_OPTIMIZERS = sorted(
    name
    for name, kind in OPTIMIZERS.module_dict.items()
    if kind.__module__.startswith('torch.optim') and name != 'Optimizer'
)


def test_all_optimizers_of_torch_are_tried():
    assert {'SGD', 'Adam', 'AdamW', 'ASGD', 'LBFGS', 'Rprop', 'SparseAdam'} <= set(TORCH_OPTIMIZERS)


@pytest.mark.parametrize('name', TORCH_OPTIMIZERS)
def test_state_of_every_optimizer_comes_back_equal(tmp_path, name):
    """And with it the steps to come are the same, bit for bit."""

    def build():
        torch.manual_seed(0)
        model = torch.nn.Embedding(4, 3, sparse=name == 'SparseAdam')  # Muon takes matrices only
        return model, OPTIMIZERS.get(name)(model.parameters(), lr=0.1)

    def step(model, optimizer, number):
        def closure():
            optimizer.zero_grad()
            loss = model(torch.tensor([number % 4, 1])).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)

    model, optimizer = build()
    for number in range(3):
        step(model, optimizer, number)
    state = optimizer.state_dict()
    found = through_a_file(state, tmp_path / 'x.pth')
    assert str(found) == str(state)
    other, resumed = build()
    other.load_state_dict(model.state_dict())
    resumed.load_state_dict(found)
    for number in range(3, 6):
        step(model, optimizer, number)
        step(other, resumed, number)
    assert torch.equal(model.weight, other.weight)
