"""Makes recipes from good parts and measures them: `train.calibrate`, `evaluate.evaluate_recipe`."""
