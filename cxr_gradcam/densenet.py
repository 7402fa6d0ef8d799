"""DenseNet in stages: one forward pass that keeps what it is asked for, and the way back by hand.

The network of Huang 2017 (arXiv 1608.06993) as torchvision defines it, frozen and in eval mode,
from nothing but the weights under torchvision's names: to import torchvision takes a second or two
and 170 MB. Two things make it faster to run and to explain than the torchvision module:

- the forward pass writes new features into one growing buffer per dense block, in channels_last
  memory, instead of concatenating all earlier ones anew for every layer;
- the pullback (vector-Jacobian product) of every step is written out, so that the gradients of
  all classes travel back together as one batch. Each step of a frozen network is linear once its
  ReLU pattern is known, and all classes share that pattern. Autograd goes back once per class.

Nothing here touches shared state: a pass keeps all it knows in objects of its own, so any number
of threads may run passes through one network at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile

import torch
import torch.nn.functional as F
from torch import Tensor

LAST_LAYER = "features.norm5"
BLOCK, TRANSITION = "features.denseblock", "features.transition"
NORM_EPS = 1e-5  # of torchvision's batch norms
MAIN_LAYERS = (
    "features.denseblock1",
    "features.denseblock2",
    "features.denseblock3",
    "features.denseblock4",
    LAST_LAYER,
)


@dataclass
class _Journey:
    """What travels back through the network: the gradients met so far and the open dense layers."""

    gradients: dict[str, Tensor] = field(default_factory=dict)
    block_gradients: list[Tensor] = field(default_factory=list)


_Pullback = Callable[[Tensor, _Journey], Tensor]
_Weights = Mapping[str, Tensor]


@dataclass
class Pass:
    """One forward pass and what it kept.

    Attributes:
        wanted: names of the layers asked for.
        way_back: whether the way back is recorded, from the first of them on.
        beside: name of one more layer, "" for none, to which the way back need not reach.
        logits: (N, classes), the scores y before softmax.
        last_activation: (N, C, h, w), relu(norm5(x)), the tensor that is pooled.
        activations: layer name -> (N, C, h, w) for every layer asked for and the one beside.
        recording: whether that first layer has been met.
        trail: one pullback per step since then.
    """

    wanted: frozenset[str]
    way_back: bool = False
    beside: str = ""
    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    last_activation: Tensor = field(default_factory=lambda: torch.empty(0))
    activations: dict[str, Tensor] = field(default_factory=dict)
    recording: bool = False
    trail: list[_Pullback] = field(default_factory=list)

    @property
    def features(self) -> Tensor:
        """(N, C), the last activation pooled: what the classes are read from."""
        return self.last_activation.mean((2, 3))

    def keep(self, layer: str, activation: Tensor) -> None:
        """Remember an activation if it was asked for; the way back ends at the first of them."""
        if not layer or (layer not in self.wanted and layer != self.beside):
            return
        self.activations[layer] = activation.clone()  # the next step may work in place
        if layer not in self.wanted or not self.way_back:
            return
        self.recording = True

        def collect(gradient: Tensor, journey: _Journey) -> Tensor:
            journey.gradients[layer] = gradient.clone()
            return gradient

        self.trail.append(collect)

    def record(self, pullback: _Pullback) -> None:
        """Append one step of the way back, once there is a layer that needs it."""
        if self.recording:
            self.trail.append(pullback)


class _NormReLU:
    """Batch norm with frozen statistics, which is a scale and a shift per channel, then ReLU."""

    def __init__(self, weights: _Weights, name: str) -> None:
        scale = weights[f"{name}.weight"] / torch.sqrt(weights[f"{name}.running_var"] + NORM_EPS)
        shift = weights[f"{name}.bias"] - weights[f"{name}.running_mean"] * scale
        self.scale = scale.view(1, -1, 1, 1)
        self.shift = shift.view(1, -1, 1, 1)
        # The last norm is known by the tensor that is pooled: torchvision's ReLU after it works in
        # place, so a hook on norm5 would end up with this very tensor anyway.
        last = name == LAST_LAYER
        self.norm_name = f"{name} before ReLU" if last else name
        self.relu_name = "" if last else name.replace("norm", "relu")

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        y = torch.addcmul(self.shift, x, self.scale)
        if self.norm_name in run.wanted:
            run.record(lambda gradient, _: gradient.mul_(self.scale))
            run.keep(self.norm_name, y)
            y.relu_()
            run.record(lambda gradient, _: gradient.mul_(y > 0))
        else:
            y.relu_()
            run.record(lambda gradient, _: gradient.mul_((y > 0) * self.scale))
        run.keep(self.relu_name, y)
        return y


class _Conv:
    """A convolution without bias; its pullback is the convolution with the turned kernel."""

    def __init__(self, weights: _Weights, name: str, stride: int = 1) -> None:
        self.weight = weights[f"{name}.weight"].contiguous(memory_format=torch.channels_last)
        self.padding = self.weight.shape[-1] // 2
        self.stride = stride
        turned = self.weight.transpose(0, 1).flip(2, 3)
        self.turned_weight = turned.contiguous(memory_format=torch.channels_last)
        self.name = name

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        y = F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)
        run.record(lambda gradient, _: F.conv2d(gradient, self.turned_weight, padding=self.padding))
        run.keep(self.name, y)
        return y


class _DenseLayer:
    """norm1, relu1, conv1 (1x1), norm2, relu2, conv2 (3x3): 32 channels from all earlier ones."""

    def __init__(self, weights: _Weights, name: str) -> None:
        self.name = name
        self.steps = (
            _NormReLU(weights, f"{name}.norm1"),
            _Conv(weights, f"{name}.conv1"),
            _NormReLU(weights, f"{name}.norm2"),
            _Conv(weights, f"{name}.conv2"),
        )
        self.growth = self.steps[3].weight.shape[0]

    def forward(self, buffer: Tensor, known: int, run: Pass) -> None:
        """Read the first `known` channels of the block's buffer and write the next ones."""
        run.record(self._join)
        x = buffer[:, :known]
        for step in self.steps:
            x = step.forward(x, run)
        run.keep(self.name, x)
        buffer[:, known : known + self.growth] = x
        run.record(self._split)

    def _split(self, gradient: Tensor, journey: _Journey) -> Tensor:
        """Of the gradient of all channels so far, send the newest through the layer's steps."""
        journey.block_gradients.append(gradient)
        return gradient[:, -self.growth :]

    def _join(self, gradient: Tensor, journey: _Journey) -> Tensor:
        """Add what came through the layer to what the earlier channels already had."""
        block_gradient = journey.block_gradients.pop()
        return block_gradient[:, : -self.growth].add_(gradient)


class _DenseBlock:
    """Dense layers that share one growing buffer."""

    def __init__(self, weights: _Weights, name: str) -> None:
        self.name = name
        layers = _numbered(weights, f"{name}.denselayer", "norm1")
        self.layers = [_DenseLayer(weights, layer) for layer in layers]
        self.growth = sum(layer.growth for layer in self.layers)

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        batch, known, height, width = x.shape
        buffer = torch.empty(
            (batch, known + self.growth, height, width),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last,
        )
        buffer[:, :known] = x
        for layer in self.layers:
            layer.forward(buffer, known, run)
            known += layer.growth
        run.keep(self.name, buffer)
        return buffer


class _Transition:
    """norm, relu, 1x1 conv, 2x2 average pooling."""

    def __init__(self, weights: _Weights, name: str) -> None:
        self.name = name
        self.norm = _NormReLU(weights, f"{name}.norm")
        self.conv = _Conv(weights, f"{name}.conv")

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        x = self.norm.forward(x, run)
        if self.conv.name in run.wanted:
            x = self._pool(self.conv.forward(x, run), run)
        else:
            # Averaging and a 1x1 convolution commute; this way the convolution is 4x smaller.
            x = self.conv.forward(self._pool(x, run), run)
        run.keep(f"{self.name}.pool", x)
        run.keep(self.name, x)
        return x

    @staticmethod
    def _pool(x: Tensor, run: Pass) -> Tensor:
        run.record(lambda gradient, _: F.interpolate(gradient, scale_factor=2.0).mul_(0.25))
        return F.avg_pool2d(x, 2)


class _Stem:
    """conv0 (7x7, stride 2), norm0, relu0, pool0 (3x3 maximum, stride 2)."""

    def __init__(self, weights: _Weights) -> None:
        self.conv = _Conv(weights, "features.conv0", stride=2)
        self.norm = _NormReLU(weights, "features.norm0")

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        x = self.norm.forward(self.conv.forward(x, run), run)
        y, winners = F.max_pool2d(x, 3, stride=2, padding=1, return_indices=True)

        def pullback(gradient: Tensor, _: _Journey) -> Tensor:
            classes = len(gradient)
            back: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
                gradient,
                x.expand(classes, -1, -1, -1),
                [3, 3],
                [2, 2],
                [1, 1],
                [1, 1],
                False,
                winners.expand(classes, -1, -1, -1),
            )
            return back

        run.record(pullback)
        run.keep("features.pool0", y)
        return y


class DenseNet:
    """A frozen DenseNet, ready to be run and pulled back.

    Args:
        weights: a torchvision `DenseNet`'s state dict. Not changed, but its tensors may be shared;
            their dtype and device are the ones everything runs in.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        weights = {name: value.detach() for name, value in weights.items()}
        self.weight: Tensor = weights["classifier.weight"]
        self.bias: Tensor = weights["classifier.bias"]
        self._stem = _Stem(weights)
        self._stages: list[_DenseBlock | _Transition] = []
        for number, name in enumerate(_numbered(weights, BLOCK, "denselayer1.norm1"), start=1):
            self._stages.append(_DenseBlock(weights, name))
            if f"{TRANSITION}{number}.norm.weight" in weights:  # there is none after the last block
                self._stages.append(_Transition(weights, f"{TRANSITION}{number}"))
        self._norm5 = _NormReLU(weights, LAST_LAYER)
        self.layers: tuple[str, ...] = tuple(self._names())

    def _names(self) -> Iterator[str]:
        """Give the name of every module inside torchvision's `features`, in its order."""
        yield from ("features.conv0", "features.norm0", "features.relu0", "features.pool0")
        for stage in self._stages:
            yield stage.name
            if isinstance(stage, _Transition):
                yield from (f"{stage.name}.{part}" for part in ("norm", "relu", "conv", "pool"))
                continue
            for layer in stage.layers:
                yield layer.name
                parts = ("norm1", "relu1", "conv1", "norm2", "relu2", "conv2")
                yield from (f"{layer.name}.{part}" for part in parts)
        yield LAST_LAYER

    def forward(
        self,
        model_input: Tensor,
        layers: Iterable[str] = (),
        *,
        way_back: bool = False,
        beside: str = "",
    ) -> Pass:
        """Run the network once and keep the activations of `layers`.

        Args:
            model_input: (N, 3, S, S), S a multiple of 32.
            layers: names from `self.layers`.
            way_back: record what `gradients` needs at layers before the last, which takes memory.
            beside: one more layer, whose activation is kept and nothing else.

        Returns:
            The pass, with logits and activations; `gradients` goes back from it.
        """
        run = Pass(wanted=frozenset(layers), way_back=way_back, beside=beside)
        with torch.inference_mode():
            x = model_input.to(self.weight).contiguous(memory_format=torch.channels_last)
            x = self._stem.forward(x, run)
            for stage in self._stages:
                x = stage.forward(x, run)
            run.last_activation = self._norm5.forward(x, run)
            run.logits = F.linear(run.features, self.weight, self.bias)
        if LAST_LAYER in (*run.wanted, beside):
            run.activations[LAST_LAYER] = run.last_activation
        return run

    def gradients(self, run: Pass, cotangents: Tensor) -> dict[str, Tensor]:
        """Return the gradients of several scores at every layer of a pass, in one go.

        Args:
            run: a pass of one radiograph, run with `way_back`; one that was only asked for the last
                layer may hold several and needs no way back, since the gradient there is the same
                for every radiograph.
            cotangents: (K, classes); row k says which combination of logits to differentiate:
                a one-hot row for a class, +1 and -1 for a contrast.

        Returns:
            layer -> (K, C, h, w), d(cotangents[k] . y) / dA.

        Raises:
            ValueError: when earlier layers were asked for and the pass held several radiographs
                or no way back.
        """
        if run.wanted - {LAST_LAYER} and not (run.way_back and len(run.logits) == 1):
            raise ValueError(
                "Gradients before the last layer need a pass of one radiograph with way_back=True, "
                f"not of {len(run.logits)} with way_back={run.way_back}."
            )
        with torch.inference_mode():
            height, width = run.last_activation.shape[2:]
            at_last = (cotangents @ self.weight)[:, :, None, None] / (height * width)
            at_last = at_last.expand(-1, -1, height, width)
            journey = _Journey()
            if run.trail:
                gradient = at_last.contiguous(memory_format=torch.channels_last)
                if at_last.data_ptr() == gradient.data_ptr():
                    gradient = gradient.clone()
                for pullback in reversed(run.trail):
                    gradient = pullback(gradient, journey)
            if LAST_LAYER in run.wanted:
                journey.gradients[LAST_LAYER] = at_last
        return journey.gradients

    def evidence(self, run: Pass) -> Tensor:
        """Split every logit over the cells of the last layer.

        Returns:
            (N, classes, h, w), signed, in logit units: (W_c . A_ij) / (h w). Summed over the cells
            and with the class's bias added it is the logit, exactly: CAM of Zhou 2016
            (arXiv 1512.04150) with nothing left out.
        """
        with torch.inference_mode():
            height, width = run.last_activation.shape[2:]
            return torch.einsum("kc,nchw->nkhw", self.weight, run.last_activation) / (
                height * width
            )


def _numbered(weights: _Weights, stem: str, first: str) -> Iterator[str]:
    """Give the names of the parts that are called `stem` and 1, 2, 3 …, as long as there are any.

    Args:
        weights: what the network has.
        stem: what all their names begin with.
        first: a norm that each of them has.
    """
    names = (f"{stem}{number}" for number in count(1))
    return takewhile(lambda name: f"{name}.{first}.weight" in weights, names)
