"""The anomaly network: backbones, feature mapping, preprocessing and their weights."""
