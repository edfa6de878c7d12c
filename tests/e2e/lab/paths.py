"""Where the programs are: in the build folder, or where the environment says."""

import os
from pathlib import Path


class Paths:
    root = Path(__file__).resolve().parents[3]
    build = Path(os.environ.get("KERBSIDE_BUILD", root / "build")).absolute()
    kerbside = Path(os.environ.get("KERBSIDE_BIN", build / "kerbside")).absolute()
    parts = Path(os.environ.get("KERBSIDE_E2E_PARTS", build / "tests" / "e2e")).absolute()

    @classmethod
    def part(cls, name: str) -> Path:
        """One of our own programs or images; says how to get it when it is not there."""
        path = cls.parts / name
        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing: meson setup -De2e=true {cls.build} && ninja -C {cls.build}"
            )
        return path
