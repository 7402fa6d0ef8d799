"""The network in stages against torchvision's own, with hooks and autograd as the judge."""

import pytest
import torch
from torchvision.models import DenseNet as TorchvisionDenseNet

from cxr_gradcam.checkpoint import load_checkpoint
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS, DenseNet
from tests import oracle


@pytest.fixture(scope="module")
def tiny() -> TorchvisionDenseNet:
    return oracle.tiny_densenet()


@pytest.fixture(scope="module")
def model_input() -> torch.Tensor:
    return torch.randn(
        1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(7)
    )


def test_every_module_inside_features_is_a_layer(tiny: TorchvisionDenseNet) -> None:
    names = tuple(name for name, _ in tiny.named_modules() if name.startswith("features."))
    assert DenseNet(tiny.state_dict()).layers == names
    assert set(MAIN_LAYERS) < set(names)


def test_activations_and_gradients_of_every_layer_equal_autograd(
    tiny: TorchvisionDenseNet, model_input: torch.Tensor
) -> None:
    dense = DenseNet(tiny.state_dict())
    logits, activations, gradients = oracle.activations_and_gradients(
        tiny, model_input, dense.layers
    )
    together = dense.forward(model_input, dense.layers, way_back=True)
    ours = dense.gradients(together, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(together.logits, logits)
    assert set(ours) == set(dense.layers)
    for layer in dense.layers:
        torch.testing.assert_close(together.activations[layer], activations[layer], msg=layer)
        torch.testing.assert_close(ours[layer], gradients[layer], msg=layer)


def test_a_layer_asked_for_alone_gives_the_same_gradient(
    tiny: TorchvisionDenseNet, model_input: torch.Tensor
) -> None:
    # Alone, the way back ends in the middle of a block or of a dense layer.
    dense = DenseNet(tiny.state_dict())
    _, _, gradients = oracle.activations_and_gradients(tiny, model_input, dense.layers)
    for layer in dense.layers:
        run = dense.forward(model_input, [layer], way_back=True)
        ours = dense.gradients(run, torch.eye(3, dtype=torch.float64))
        torch.testing.assert_close(ours[layer], gradients[layer], msg=layer)


def test_going_back_twice_gives_the_same(
    tiny: TorchvisionDenseNet, model_input: torch.Tensor
) -> None:
    dense = DenseNet(tiny.state_dict())
    run = dense.forward(model_input, MAIN_LAYERS, way_back=True)
    rows = torch.eye(3, dtype=torch.float64)
    first = {name: value.clone() for name, value in dense.gradients(run, rows).items()}
    contrast = dense.gradients(run, rows[:1] - rows[1:2])
    again = dense.gradients(run, rows)
    for layer in MAIN_LAYERS:
        assert torch.equal(first[layer], again[layer])
        torch.testing.assert_close(contrast[layer][0], first[layer][0] - first[layer][1])


def test_logits_equal_torchvision_in_float32() -> None:
    module = load_checkpoint().build_module()
    batch = torch.randn(3, 3, 224, 160, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = module(batch)
    ours = DenseNet(module.state_dict()).forward(batch).logits
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_it_changes_none_of_its_weights_whatever_their_order() -> None:
    module = oracle.tiny_densenet().requires_grad_(True)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    weights = dict(sorted(module.state_dict(keep_vars=True).items()))
    dense = DenseNet(weights)
    assert dense.layers == DenseNet(module.state_dict()).layers
    dense.gradients(
        dense.forward(torch.randn(1, 3, 64, 64), MAIN_LAYERS, way_back=True),
        torch.eye(3, dtype=torch.float64),
    )
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_batch_has_no_way_back_before_the_last_layer(tiny: TorchvisionDenseNet) -> None:
    dense = DenseNet(tiny.state_dict())
    batch = torch.randn(2, 3, 64, 64)
    rows = torch.eye(3, dtype=torch.float64)
    at_last = dense.gradients(dense.forward(batch, [LAST_LAYER]), rows)[LAST_LAYER]
    torch.testing.assert_close(at_last[:, :, 0, 0], dense.weight / 4)
    run = dense.forward(batch, ["features.denseblock4"], way_back=True)
    with pytest.raises(ValueError, match="one radiograph with way_back=True, not of 2"):
        dense.gradients(run, rows)
    run = dense.forward(batch[:1], ["features.denseblock4"])
    with pytest.raises(ValueError, match="way_back=False"):
        dense.gradients(run, rows)
