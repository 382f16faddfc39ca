"""Synthetic defects with pixel-exact ground truth, from good images alone (F2PAD paper, section IV-A1)."""
