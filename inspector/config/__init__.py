"""The configuration of a station, read from `inspector.yaml`."""
