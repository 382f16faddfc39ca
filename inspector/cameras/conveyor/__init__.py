"""The synthetic conveyor: cast parts on a belt under a bar light, rendered from a seed, some with labelled defects.

`shapes` < `part`, `lighting`, `textures` < `scene` < `surface` < `patch` < `damage`, `foreign` < `defects`, and
`exposure`; `rendering` puts them together. Everything is a pure function of its arguments and of a generator.
"""
