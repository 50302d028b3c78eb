"""V: the paper's sizes, shapes and losses."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from world_models.vae import model
from world_models.vae.model import VAE, VAESizes


@pytest.mark.parametrize(("latent_size", "parameters"), [(32, 4_348_547), (64, 4_446_915)])
def test_parameter_counts_are_the_papers(latent_size, parameters):
    vae = VAE(VAESizes(latent_size))
    assert sum(p.numel() for p in vae.parameters()) == parameters


def test_a_points_deconvolution_is_torchs_own():
    torch.manual_seed(0)
    layer, points = model.PointDeconvolution(7, 3, 5), torch.rand(2, 7, 1, 1)
    torch.testing.assert_close(layer(points), torch.nn.ConvTranspose2d.forward(layer, points))


@pytest.mark.parametrize("count", [1, 3])
def test_frames_become_latents_and_latents_become_frames(count):
    torch.manual_seed(0)
    vae = VAE(VAESizes(8))
    frames = torch.randint(0, 256, (count, 64, 64, 3), dtype=torch.uint8)
    mu, logvar = vae.encode(model.to_images(frames))
    assert mu.shape == logvar.shape == (count, 8)
    images = vae.decode(mu)
    assert images.shape == (count, 3, 64, 64)
    assert ((images >= 0) & (images <= 1)).all()
    drawn = model.to_frames(images.detach())
    assert drawn.shape == (count, 64, 64, 3)
    assert drawn.dtype == torch.uint8


def test_a_frames_latent_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    vae = VAE(VAESizes(8))
    images = torch.rand(5, 3, 64, 64)
    together, _ = vae.encode(images)
    alone, _ = vae.encode(images[2:3])
    torch.testing.assert_close(together[2:3], alone)


def test_frames_survive_the_way_to_images_and_back():
    frames = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    images = model.to_images(frames)
    assert images[1, 2, 5, 7] == frames[1, 5, 7, 2] / 255
    torch.testing.assert_close(model.to_frames(images), frames, rtol=0, atol=0)


def test_sampling_scales_the_noise_by_sigma():
    mu = torch.tensor([[1.0, -2.0]])
    logvar = torch.tensor([[math.log(4.0), math.log(0.25)]])
    latent = model.sample_latent(mu, logvar, torch.tensor([[3.0, 1.0]]))
    torch.testing.assert_close(latent, torch.tensor([[7.0, -1.5]]))


def test_kl_is_that_of_torch_distributions():
    torch.manual_seed(0)
    mu, logvar = torch.randn(4, 6), torch.randn(4, 6)
    posterior = Normal(mu, (0.5 * logvar).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0))
    torch.testing.assert_close(model.kl_divergence(mu, logvar), expected)
    assert not model.kl_divergence(torch.zeros(1, 6), torch.zeros(1, 6)).any()


def test_reconstruction_error_is_summed_over_an_image():
    images = torch.zeros(2, 3, 64, 64)
    guess = torch.stack([torch.full((3, 64, 64), 0.5), torch.zeros(3, 64, 64)])
    torch.testing.assert_close(
        model.reconstruction_error(guess, images), torch.tensor([0.25 * 3 * 64 * 64, 0])
    )
