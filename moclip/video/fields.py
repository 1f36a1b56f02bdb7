"""From block grids to fields of pixels: accumulation and 8 bit."""

import numpy as np


class Accumulator:
    """Displacement of every pixel since the last I-frame, carried on from frame to frame.

    D_0 = 0, and for every later frame D_k(p) = D_{k-1}(p - round(v)) + v, where v is the vector at p, round(v) =
    floor(v + 1/2), and nothing changes where p - round(v) lies outside the image (CoViAR, Wu et al. 2018, section 3.2).

    Parameters
    ----------
    height, width : int
        Size of the video, pixels.
    block : int
        Side of a cell.
    scale : int
        Units a pixel.
    frames : int
        Most frames between two restarts.
    coviar : bool
        v is cut to whole pixels, toward zero, as CoViAR has it.
    """

    def __init__(self, height: int, width: int, block: int, scale: int, frames: int, coviar: bool) -> None:
        from moclip.video import _kernels  # numba: most of a second to import

        self._kernels = _kernels
        self._size = (height, width, block, scale)
        self._coviar = coviar
        # A pixel's steps add up to less than the image's side; a vector differs from its step by half a pixel at most.
        longest = scale * (max(height, width) + (frames + 1) // 2)
        self._state = np.zeros((2, height * width), np.int32 if longest < 2**15 else np.int64)
        self._moved = np.zeros((-(-height // block), -(-width // block)), np.uint8)
        self._now = 0

    def restart(self) -> None:
        """Back to an I-frame: no displacement."""
        self._state[:] = 0
        self._moved[:] = 0

    def advance(self, grids: np.ndarray) -> None:
        """Go through the next frames: int16 (K, gh, gw, 2), in order of time."""
        self._now = self._kernels.advance(
            self._state, self._now, self._moved, np.ascontiguousarray(grids), self._size, self._coviar
        )

    def sums(self) -> np.ndarray:
        """The field in the grids' units, in CoViAR's way in pixels: int32 (H, W, 2)."""
        return self._unpack(np.int32)

    def pixels(self) -> np.ndarray:
        """The field in pixels: float32 (H, W, 2), int32 in CoViAR's way."""
        if self._coviar:
            return self.sums()
        field = self._unpack(np.float32)
        return np.divide(field, np.float32(self._size[3]), out=field)

    def _unpack(self, kind: type) -> np.ndarray:
        out: np.ndarray = np.empty((*self._size[:2], 2), kind)
        self._kernels.unpack(self._state[self._now], out.reshape(-1, 2))
        return out

    def eight_bit(self, bound: float, out: np.ndarray) -> None:
        """The field in 8 bit (see `eight_bit`), into ``out``: uint8 (H, W, 2), in one piece."""
        pixel = np.float32(1 if self._coviar else 1 / self._size[3])
        flat = out.reshape(-1).view("<u2")
        self._kernels.unpack_bytes(self._state[self._now], pixel, np.float32(127.5 / bound), flat)


def eight_bit(pixels: np.ndarray, bound: float) -> np.ndarray:
    """Vectors in 8 bit: v * 127.5 / ``bound`` cut toward zero, moved by 128, limited to 0..255.

    Parameters
    ----------
    pixels : (...)
        Vectors in pixels.
    bound : float
        Pixels that reach the end of the range.

    Returns
    -------
    uint8 (...)
    """
    levels = np.trunc(pixels.astype(np.float32) * np.float32(127.5 / bound)) + 128
    return np.clip(levels, 0, 255).astype(np.uint8)
