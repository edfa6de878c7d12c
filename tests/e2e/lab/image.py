"""Pictures as bytes: enough of PPM to compare screens."""

import subprocess
from pathlib import Path


class Image:
    """An RGB picture, 8 bits a colour, rows from the top."""

    def __init__(self, width: int, height: int, pixels: bytes):
        assert len(pixels) == width * height * 3
        self.width, self.height, self.pixels = width, height, pixels

    @classmethod
    def load(cls, path: Path) -> "Image":
        data = Path(path).read_bytes()
        fields, at = [], 0
        while len(fields) < 4:  # P6 WIDTH HEIGHT 255, with comments between
            end = at
            while data[end : end + 1] not in (b" ", b"\n"):
                end += 1
            if data[at : at + 1] == b"#":
                at = data.index(b"\n", at) + 1
                continue
            if end > at:
                fields.append(data[at:end])
            at = end + 1
        assert fields[0] == b"P6" and fields[3] == b"255", f"{path} is not a PPM of 8 bits"
        width, height = int(fields[1]), int(fields[2])
        return cls(width, height, data[at : at + width * height * 3])

    def save_png(self, path: Path):
        ppm = b"P6\n%d %d\n255\n" % (self.width, self.height) + self.pixels
        subprocess.run(["convert", "ppm:-", str(path)], input=ppm, check=True)

    def __eq__(self, other):
        return (isinstance(other, Image) and self.width == other.width
                and self.height == other.height and self.pixels == other.pixels)

    def __repr__(self):
        return f"<Image {self.width}x{self.height}>"

    def pixel(self, x: int, y: int) -> int:
        at = (y * self.width + x) * 3
        return int.from_bytes(self.pixels[at : at + 3], "big")

    def count(self, colour: int) -> int:
        """How many pixels have exactly that colour."""
        wanted = colour.to_bytes(3, "big")
        count, at = 0, self.pixels.find(wanted)
        while at >= 0:
            if at % 3 == 0:
                count += 1
                at += 3
            else:
                at += 1
            at = self.pixels.find(wanted, at)
        return count

    def difference(self, other: "Image") -> str:
        if (self.width, self.height) != (other.width, other.height):
            return f"{self!r} is not the size of {other!r}"
        wrong = sum(
            self.pixels[i : i + 3] != other.pixels[i : i + 3] for i in range(0, len(self.pixels), 3)
        )
        return f"{wrong} of {self.width * self.height} pixels differ"

    def crop(self, x: int, y: int, width: int, height: int) -> "Image":
        rows = [
            self.pixels[(row * self.width + x) * 3 : (row * self.width + x + width) * 3]
            for row in range(y, y + height)
        ]
        return Image(width, height, b"".join(rows))

    def find(self, part: "Image") -> tuple[int, int] | None:
        """Where `part` is within this picture, pixel for pixel."""
        first = part.pixels[: part.width * 3]
        at = self.pixels.find(first)
        while at >= 0:
            if at % 3 == 0:
                x, y = (at // 3) % self.width, (at // 3) // self.width
                fits = x + part.width <= self.width and y + part.height <= self.height
                if fits and self.crop(x, y, part.width, part.height) == part:
                    return x, y
            at = self.pixels.find(first, at + 1)
        return None
