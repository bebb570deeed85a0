"""Files and hubs to backbones, and backbones to files."""
