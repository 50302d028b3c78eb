"""V: the convolutional VAE of World Models (paper, appendix A.1)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class VAESizes:
    """Sizes that a checkpoint of V is bound to."""

    latent_size: int


class PointDeconvolution(nn.ConvTranspose2d):
    """A transposed convolution of a single point: one matrix product, in a third of the time."""

    def forward(self, points: Tensor) -> Tensor:  # type: ignore[override]
        """Maps points (N, in_channels, 1, 1) to (N, out_channels, kernel, kernel)."""
        patches = points.flatten(1) @ self.weight.flatten(1)
        return patches.unflatten(1, (self.out_channels, *self.kernel_size)) + self._offset

    @property
    def _offset(self) -> Tensor:
        assert self.bias is not None
        return self.bias[:, None, None]


class VAE(nn.Module):
    """Compresses a frame of 64 x 64 x 3 to a latent z, and draws it again.

    4,348,547 parameters with a latent of 32, 4,446,915 with one of 64.
    """

    def __init__(self, sizes: VAESizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 128, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(128, 256, 4, stride=2),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.mu = nn.Linear(1024, sizes.latent_size)
        self.logvar = nn.Linear(1024, sizes.latent_size)
        self.decoder_input = nn.Linear(sizes.latent_size, 1024)
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (1024, 1, 1)),
            PointDeconvolution(1024, 128, 5),
            nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 5, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 6, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 3, 6, stride=2),
        )

    @property
    def device(self) -> torch.device:
        """The device that its weights are on."""
        return self.mu.weight.device

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps images (N, 3, 64, 64) in [0, 1] to mu and log sigma^2 of z, (N, z) each."""
        features = self.encoder(images.to(self.mu.weight.dtype))
        return self.mu(features).float(), self.logvar(features).float()

    def decode(self, latent: Tensor) -> Tensor:
        """Maps latents (N, z) to images (N, 3, 64, 64) in [0, 1]."""
        return self.decode_logits(latent).sigmoid()

    def decode_logits(self, latent: Tensor) -> Tensor:
        """Maps latents (N, z) to the numbers (N, 3, 64, 64) whose sigmoid `decode` returns."""
        return self.decoder(self.decoder_input(latent.to(self.mu.weight.dtype)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns reconstructions of images (N, 3, 64, 64) through a sampled z, with z's mu and log
        sigma^2 (N, z)."""
        mu, logvar = self.encode(images)
        return self.decode(sample_latent(mu, logvar, torch.randn_like(mu))), mu, logvar


def sample_latent(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """Returns z ~ N(mu, sigma^2) from standard normal noise of the same shape."""
    return mu + (0.5 * logvar).exp() * noise


def to_images(frames: Tensor) -> Tensor:
    """Turns frames (N, 64, 64, 3) of bytes into V's images (N, 3, 64, 64) in [0, 1]."""
    return frames.permute(0, 3, 1, 2).float().div(255)


def to_frames(images: Tensor) -> Tensor:
    """Turns V's images (N, 3, 64, 64) in [0, 1] into frames (N, 64, 64, 3) of bytes."""
    return images.float().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1)


def reconstruction_error(reconstructions: Tensor, images: Tensor) -> Tensor:
    """Returns the squared error summed over an image's pixels and channels: (N,)."""
    return (reconstructions.float() - images).square().sum(dim=(1, 2, 3))


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Returns KL(N(mu, sigma^2) || N(0, 1)) in nats, of each number of z: (N, z)."""
    mu, logvar = mu.float(), logvar.float()
    return -0.5 * (1 + logvar - mu.square() - logvar.exp())
