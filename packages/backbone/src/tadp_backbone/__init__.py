"""Text and image in; feature pyramid and attention maps of a latent diffusion model out."""
