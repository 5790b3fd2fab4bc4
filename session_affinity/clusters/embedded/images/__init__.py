"""The container images of the embedded cluster, built on this machine, because a registry may not be reachable.

There are three images, each a stand-in with the name of the original that the manifests use: the sandbox ``pause``,
``traefik/whoami`` for the endpoints and ``nicolaka/netshoot`` for the client. The first two are small Go programs of
this project; the third contains command line tools of the host.
"""

from __future__ import annotations

from session_affinity.clusters.embedded.images.build import BuiltImage, ImageSet, ensure_images

__all__ = ["BuiltImage", "ImageSet", "ensure_images"]
