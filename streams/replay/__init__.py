"""Replay: files through the worker's own decoders, windows and judges, without a broker."""
