"""LeNet-5 for colour images."""

from torch import Tensor, nn


class LeNet5(nn.Module):
    """Two convolutions with average pooling, three dense layers, tanh; (B, 3, 32, 32) to ten scores."""

    def __init__(self) -> None:
        super().__init__()
        self.c1, self.c3 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.pool = nn.AvgPool2d(2)
        self.c5, self.f6, self.output = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.c1(x).tanh())
        x = self.pool(self.c3(x).tanh())
        x = self.c5(x.flatten(1)).tanh()
        return self.output(self.f6(x).tanh())
