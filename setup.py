"""The one step of a build that pyproject.toml has no words for.

The shipped search spaces lie beside the package, where people read them; a wheel has them inside of
it, where `droplora-sweep examples` and `demo` find them.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCE = Path("search_spaces")
TARGET = Path("droplora_sweep") / SOURCE


class BuildWithSearchSpaces(build_py):
    """Copies the search spaces, what they name and their schema into the package that is built."""

    def run(self) -> None:
        """Build; an editable install finds the files where they are."""
        super().run()
        if self.editable_mode:
            return
        for source, target in self._copies().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target, preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return every file of the built package."""
        return [*super().get_outputs(include_bytecode), *self._copies().values()]

    def get_source_files(self) -> list[str]:
        """Return every file that a source distribution needs."""
        return [*super().get_source_files(), *self._copies()]

    def _copies(self) -> dict[str, str]:
        files = [
            *sorted(SOURCE.rglob("*.yaml")),
            *sorted(SOURCE.rglob("*.py")),
            SOURCE / "schema.json",
        ]
        build = Path(self.build_lib) / TARGET
        return {str(file): str(build / file.relative_to(SOURCE)) for file in files}


setup(cmdclass={"build_py": BuildWithSearchSpaces})
