"""The foreign suites' runner, on a suite of four tests."""

from tests.foreign.run_suites import TRIALS, compare, run_files
from tests.foreign.substitutes import SUBSTITUTIONS

SUITE = """
import pytest
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

def test_of_both():
    assert METRICS.get('IoUMetric') is IoUMetric

def test_of_stock():
    assert IoUMetric.__name__ == 'IoUMetric', 'ours'

def test_of_none():
    raise AssertionError

def test_left_out():
    pytest.skip('for a reason')
"""


def test_outcomes_with_and_without_our_class(tmp_path):
    (trial,) = (t for t in TRIALS if t.substitution == 'metric')
    (name,) = trial.files
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_text(SUITE)
    stock, ours = (run_files(tmp_path, [name], which) for which in ('stock', 'metric'))
    found = compare(stock, ours, trial)
    assert found.passed == 1
    assert list(found.failed) == ['test_iou_metric.py::test_of_stock']
    assert 'ours' in found.failed['test_iou_metric.py::test_of_stock']
    assert (found.stock_too, found.skipped, found.not_applicable) == (1, 1, {})


def test_each_substitution_is_tried():
    assert {trial.substitution for trial in TRIALS} | {'stock'} == set(SUBSTITUTIONS)
