"""Where things lie in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOY = ROOT / 'configs/pan/pan_r18-d16_toy.py'
