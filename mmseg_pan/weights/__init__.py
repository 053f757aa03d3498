"""Backbone weights from elsewhere."""

from .convert import convert_file, convert_state
from .files import read_weights, write_weights

__all__ = ['convert_file', 'convert_state', 'read_weights', 'write_weights']
