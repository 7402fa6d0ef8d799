"""Every method against its formula, number by number, on a tiny network and the real one."""

import numpy as np
import pytest
import torch

from cxr_gradcam.cam import METHODS
from cxr_gradcam.checkpoint import load_checkpoint
from cxr_gradcam.densenet import LAST_LAYER, MAIN_LAYERS, DenseNet
from cxr_gradcam.phantom import draw_phantom
from tests import oracle

GRADIENT_METHODS = [name for name, method in METHODS.items() if method.needs == "gradient"]


def assert_close(ours: np.ndarray, expected: np.ndarray, relative: float = 1e-5) -> None:
    """The largest difference, relative to the map's own maximum."""
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= relative * max(np.abs(expected).max(), 1e-30)


@pytest.fixture(scope="module")
def tiny() -> tuple[torch.nn.Module, torch.Tensor]:
    return oracle.tiny_densenet(), torch.randn(
        1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )


@pytest.fixture(scope="module")
def real() -> tuple[torch.nn.Module, torch.Tensor]:
    """DenseNet-121 with the bundled weights and a film-like input.

    In float64: a ReLU whose input is nearly 0 falls to either side in float32, depending on the
    order of the sums, and torchvision's own float32 gradients differ by 1e-4 from the exact ones.
    """
    module = load_checkpoint().build_module().double()
    pixels = torch.from_numpy(draw_phantom("COVID", 3, 64).radiograph.pixels.copy())
    return module, ((pixels.double() - 0.5) / 0.25).expand(1, 3, -1, -1).contiguous()


@pytest.mark.parametrize("network", ["tiny", "real"])
@pytest.mark.parametrize("layer", MAIN_LAYERS)
def test_methods_equal_their_formulas(
    network: str, layer: str, request: pytest.FixtureRequest
) -> None:
    module, model_input = request.getfixturevalue(network)
    _, activations, gradients = oracle.activations_and_gradients(module, model_input, [layer])
    dense = DenseNet(module.state_dict())
    run = dense.forward(model_input, [layer], way_back=True)
    ours = dense.gradients(run, torch.eye(dense.weight.shape[0], dtype=torch.float64))[layer]
    activation = activations[layer][0].numpy()
    for method in GRADIENT_METHODS:
        cams = METHODS[method].function(run.activations[layer], ours).numpy()
        assert cams.shape == (len(ours), *activation.shape[1:])
        for k in range(len(ours)) if network == "tiny" else [0]:  # loops in Python are slow
            expected = oracle.brute_force_cam(method, activation, gradients[layer][k].numpy())
            assert_close(cams[k], expected)
    eigen = METHODS["eigencam"].function(run.activations[layer]).numpy()
    assert_close(eigen[0], oracle.brute_force_cam("eigencam", activation, activation))


def test_scorecam_equals_one_masked_pass_after_the_other(
    tiny: tuple[torch.nn.Module, torch.Tensor],
) -> None:
    module, model_input = tiny
    dense = DenseNet(module.state_dict())
    layer = "features.denseblock2"
    run = dense.forward(model_input, [layer])
    shares: list[float] = []
    cams = METHODS["scorecam"].function(
        run.activations[layer],
        model_input,
        lambda masked: dense.forward(masked).logits,
        batch_size=3,  # does not divide the number of channels
        progress=shares.append,
    )
    expected = oracle.brute_force_scorecam(module, model_input, run.activations[layer])
    for ours, theirs in zip(cams.numpy(), expected, strict=True):
        assert_close(ours, theirs)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_map_without_any_evidence_is_zero_and_finite() -> None:
    activation = torch.zeros(1, 5, 4, 4)
    gradient = torch.zeros(2, 5, 4, 4)
    for method in GRADIENT_METHODS:
        assert METHODS[method].function(activation, gradient).eq(0).all(), method
    assert METHODS["eigencam"].function(activation).eq(0).all()
    cam = METHODS["scorecam"].function(
        activation, torch.ones(1, 3, 32, 32), lambda masked: torch.zeros(len(masked), 2)
    )
    assert cam.eq(0).all()


def test_gradcam_plus_plus_survives_gradients_whose_cube_underflows() -> None:
    activation = torch.ones(1, 1, 2, 2)
    gradient = torch.full((1, 1, 2, 2), 1e-20)
    cam = METHODS["gradcam++"].function(activation, gradient)
    assert torch.allclose(cam, torch.full((1, 2, 2), 4 * 0.5e-20), rtol=1e-5, atol=0)


def test_gradcam_plus_plus_skips_an_undefined_share() -> None:
    # The cell with g = -1 has the denominator 2 g^2 + 2 g^3 = 0.
    activation = torch.tensor([[[[1.0, 1.0]]]])
    cam = METHODS["gradcam++"].function(activation, torch.tensor([[[[-1.0, 1.0]]]]))
    assert torch.allclose(cam, torch.full((1, 1, 2), 0.25))


def test_gradcam_cam_and_hirescam_agree_at_the_last_layer(
    real: tuple[torch.nn.Module, torch.Tensor],
) -> None:
    dense = DenseNet(real[0].state_dict())
    run = dense.forward(real[1], [LAST_LAYER])
    gradients = dense.gradients(run, torch.eye(4, dtype=torch.float64))[LAST_LAYER]
    cam = dense.evidence(run)[0].relu()
    for method in ("gradcam", "hirescam"):
        ours = METHODS[method].function(run.activations[LAST_LAYER], gradients)
        assert_close(ours.numpy(), cam.numpy(), 1e-12)
