"""A static page in which a small model runs in the browser: one folder, no server, nothing fetched from elsewhere."""

from tadp_heads.export.web.scenes import scene_images
from tadp_heads.export.web.site import DemoImage, write_site

__all__ = ["DemoImage", "scene_images", "write_site"]
