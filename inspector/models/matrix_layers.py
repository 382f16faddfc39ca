"""1x1 convolutions as the matrix products that they are, the bias added in the same pass over the memory.

On a GPU, PyTorch runs a convolution, its bias and the ReLU after it as three kernels, of which the latter two only read
and write what the first has written: at the width of the mappings that takes as long as the arithmetic. A matrix
product adds the bias while it writes. The ReLU stays a step of its own: fused into the product it may turn NaN into 0,
and what is no number must stay none.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inspector.models.feature_mapping import ConvBlock


class MatrixLayer(nn.Module):
    """A 1x1 convolution, and the ReLU after it if there is one.

    Args:
        convolution: Of stride 1, in one group, without padding; batch normalisation is folded into it.
        relu: Whether a ReLU follows.
    """

    def __init__(self, convolution: nn.Conv2d, *, relu: bool) -> None:
        super().__init__()
        weight = convolution.weight.detach()
        bias = weight.new_zeros(len(weight)) if convolution.bias is None else convolution.bias.detach()
        self.relu = relu
        self.weight = nn.Parameter(weight.flatten(1).contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H, W); no copy is made of an input in channels-last order, as the output is."""
        rows = x.permute(0, 2, 3, 1)
        flat, columns = rows.reshape(-1, rows.shape[-1]), self.weight.t()
        product = torch.addmm(self.bias, flat, columns)
        if self.relu:
            product = F.relu(product, inplace=True)
        return product.view(*rows.shape[:3], -1).permute(0, 3, 1, 2)


def use_matrix_layers(network: nn.Module) -> None:
    """Replaces every 1x1 convolution of a network, in place, its batch normalisations folded beforehand.

    Scores differ by rounding only.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvBlock):
                if isinstance(child.bn, nn.Identity):
                    setattr(parent, name, MatrixLayer(child, relu=True))
            elif type(child) is nn.Conv2d and _is_product(child):
                setattr(parent, name, MatrixLayer(child, relu=False))


def _is_product(convolution: nn.Conv2d) -> bool:
    shape = convolution.kernel_size, convolution.stride, convolution.padding, convolution.groups
    return shape == ((1, 1), (1, 1), (0, 0), 1)
