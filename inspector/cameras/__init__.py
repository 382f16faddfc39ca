"""Sources of triggers and frames: folder, video, synthetic conveyor, GenICam. All keep the contract of `base`."""
