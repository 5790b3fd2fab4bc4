"""The container images of the embedded cluster, made on this machine because no registry can be relied on.

Three images are made, each a stand-in with the name of the one that the manifests ask for: the sandbox ``pause``,
``traefik/whoami`` as the endpoint and ``nicolaka/netshoot`` as the client. The first two are small Go programs of this
project; the third holds the host's own command line tools.
"""

from __future__ import annotations

from session_affinity.clusters.embedded.images.build import BuiltImage, ImageSet, ensure_images

__all__ = ["BuiltImage", "ImageSet", "ensure_images"]
