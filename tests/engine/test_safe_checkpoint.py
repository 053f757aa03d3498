import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmseg_pan.engine.safe_checkpoint import SafeCheckpointHook, to_plain


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
