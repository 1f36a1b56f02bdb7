"""MovingPhotos: a data set that is generated on the spot."""

from moclip.datasets.moving_photos.dataset import Design, MovingPhotos

__all__ = ["Design", "MovingPhotos"]
