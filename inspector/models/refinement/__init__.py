"""F2PAD: from the blurred anomaly map of a detector to pixel-exact outlines.

Tao, Xu and Du, "F2PAD: A General Optimization Framework for Feature-Level to Pixel-Level Anomaly Detection"
(arXiv 2407.06519). The test image X is split into a non-defective image N and an anomaly A = X - N, and N is
optimised until the detector finds it normal. The formulas were lost in the text at hand; where a docstring says
"reconstructed", the form comes from the paper's prose and its sources, and was checked by experiment.

Only rejected parts are refined: a refinement never changes a verdict.
"""
