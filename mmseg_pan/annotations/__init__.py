"""Annotations of labelling tools, converted to images, masks and a config to train with."""
