"""A few target images in; a learnt token, or a tuned UNet, out."""
