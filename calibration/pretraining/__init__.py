"""Trains the bundled backbones from generated pictures alone.

`fields` draws scalar fields, `programs` turns them into coloured surfaces, `crops` composes labelled training
crops from them with the `defects` and the `camera`, `task` holds heads and losses, `training` the loop, `probe`
the measurement. ``python -m calibration.pretraining --help`` shows the commands.
"""
