"""F2PAD beside the line: learning the prior, image files, the ablation. The method is `inspector.models.refinement`."""
